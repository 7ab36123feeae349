/// Bits of linux/ethtool.h's link modes.
pub const AUTONEGOTIATION: u32 = 1 << 6;
pub const PAUSE: u32 = 1 << 13;
pub const ASYMMETRIC_PAUSE: u32 = 1 << 14;

/// What plugs in, each with its bit.
pub const PORTS: [(u32, &str); 6] = [(7, "TP"), (8, "AUI"), (9, "MII"), (10, "FIBRE"), (11, "BNC"), (16, "Backplane")];

/// How fast a port can be: bit, megabits a second, duplex, the rest of the mode's name. Newer modes have no bits in the
/// words that are asked for.
pub const SPEEDS: [(u32, u64, &str, &str); 22] = [
    (0, 10, "half", "T"),
    (1, 10, "full", "T"),
    (2, 100, "half", "T"),
    (3, 100, "full", "T"),
    (4, 1000, "half", "T"),
    (5, 1000, "full", "T"),
    (12, 10_000, "full", "T"),
    (17, 1000, "full", "KX"),
    (18, 10_000, "full", "KX4"),
    (19, 10_000, "full", "KR"),
    (20, 10_000, "full", "R_FEC"),
    (21, 20_000, "full", "MLD2"),
    (22, 20_000, "full", "KR2"),
    (23, 40_000, "full", "KR4"),
    (24, 40_000, "full", "CR4"),
    (25, 40_000, "full", "SR4"),
    (26, 40_000, "full", "LR4"),
    (27, 56_000, "full", "KR4"),
    (28, 56_000, "full", "CR4"),
    (29, 56_000, "full", "SR4"),
    (30, 56_000, "full", "LR4"),
    (31, 25_000, "full", "CR"),
];

/// A megabit in bytes.
pub const MEGABIT: u64 = 125_000;
