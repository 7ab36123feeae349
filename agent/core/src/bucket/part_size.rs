const MIB: u64 = 1 << 20;
/// Up to here one request carries the whole object.
const SINGLE_AT_MOST: u64 = 16 * MIB;
/// Four of them are in memory at once.
const SMALLEST_PART: u64 = 6 * MIB;
/// OpenStack Swift takes no more parts unless it is told to (`max_upload_part_num`); what is not known of a store is this.
pub(super) const FEWEST_PARTS: u32 = 1000;
/// What AWS takes, and most stores like it.
pub(super) const MOST_PARTS: u32 = 10_000;
/// No S3 API takes a larger part; files beyond `FEWEST_PARTS` of them need a store that takes 10,000 parts.
const LARGEST_PART: u64 = 5 << 30;

/// The sizes of parts of a content: a function of its size and of how many parts the store takes, so that a later process
/// finds the same.
pub(super) fn part_size(size: u64, most_parts: u32) -> u64 {
    if size <= SINGLE_AT_MOST {
        return SINGLE_AT_MOST;
    }
    let parts = most_parts.clamp(1, MOST_PARTS);
    let part = size.div_ceil(u64::from(parts)).next_multiple_of(MIB);
    part.clamp(SMALLEST_PART, LARGEST_PART)
}

/// Those that a content may have that was stored by us.
pub(super) fn own_part_sizes(size: u64) -> [u64; 2] {
    [part_size(size, MOST_PARTS), part_size(size, FEWEST_PARTS)]
}

/// The sizes of parts that other tools use, and the one that divides a content evenly.
pub(super) fn part_sizes_of_others(size: u64, number: u64) -> impl Iterator<Item = u64> {
    let usual = [5, 6, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 256, 512, 1024].into_iter().map(|size| size * MIB);
    let even = size.div_ceil(number.max(1)).max(1);
    usual.chain([even.next_multiple_of(MIB), even])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_so_large_that_a_thousand_suffice() {
        assert_eq!(part_size(16 * MIB + 1, FEWEST_PARTS), SMALLEST_PART);
        for size in [8_000 * MIB, 8_000 * MIB + 1, 123_456_789_012, 4 << 40] {
            for most in [FEWEST_PARTS, 1500, MOST_PARTS] {
                let part = part_size(size, most);
                assert!(size.div_ceil(part) <= u64::from(most) && part.is_multiple_of(MIB), "{size}, {most}: {part}");
            }
        }
        // What AWS takes, up to its largest object: 10,000 parts of 5 GiB.
        for size in [1 << 40, 5 << 40, u64::from(MOST_PARTS) * LARGEST_PART] {
            let part = part_size(size, MOST_PARTS);
            assert!(size.div_ceil(part) <= u64::from(MOST_PARTS) && (SMALLEST_PART..=LARGEST_PART).contains(&part));
        }
        assert_eq!((part_size(1 << 40, MOST_PARTS), part_size(1 << 40, FEWEST_PARTS)), (105 * MIB, 1049 * MIB));
        assert_eq!(part_size(5 << 40, MOST_PARTS), 525 * MIB);
        // 5 TiB, S3's largest object for long: more than a thousand of the largest part.
        assert_eq!((5_u64 << 40).div_ceil(part_size(5 << 40, FEWEST_PARTS)), 1024);
        assert_eq!(part_size(60_000 * MIB, MOST_PARTS), SMALLEST_PART, "small enough for memory");
    }
}
