use super::arrivals::Arrivals;
use super::bulk::Bulk;
use super::lines::Lines;
use super::lumberjack::Lumberjack;
use super::world::World;
use std::fmt;
use std::sync::Arc;

/// What a run's platform that answers speaks: one of these, by the run's seed.
pub enum Platform {
    Bulk(Bulk),
    Lines(Lines),
    Lumberjack(Lumberjack),
}

impl Platform {
    pub fn start(arrivals: Arc<Arrivals>, world: Arc<World>) -> anyhow::Result<Self> {
        match world.rng("platform").u8(..3) {
            0 => Bulk::start(arrivals, world).map(Self::Bulk),
            1 => Lines::start(arrivals, world).map(Self::Lines),
            _ => Lumberjack::start(arrivals, world).map(Self::Lumberjack),
        }
    }

    /// As an output of the agent.
    pub fn settings(&self) -> String {
        match self {
            Self::Bulk(bulk) => format!("{{bulk: {{url: '{}', index: logs}}}}", bulk.url()),
            Self::Lines(lines) => format!("{{http: {{url: '{}'}}}}", lines.url()),
            Self::Lumberjack(lumberjack) => {
                format!("{{lumberjack: {{address: '{}', timeout: 2s}}}}", lumberjack.address())
            }
        }
    }

    /// The next of what comes is not taken, or taken without an answer.
    pub fn cut(&self, after: bool) {
        match self {
            Self::Bulk(bulk) => bulk.cut(after),
            Self::Lines(lines) => lines.cut(after),
            Self::Lumberjack(lumberjack) => lumberjack.cut(after),
        }
    }

    /// How often a batch was taken without an answer, where that makes it come twice.
    pub fn breaks(&self) -> u64 {
        match self {
            Self::Bulk(_) => 0,
            Self::Lines(lines) => lines.breaks(),
            Self::Lumberjack(lumberjack) => lumberjack.breaks(),
        }
    }

    /// Not so if some records of a batch are taken and others are not.
    pub fn keeps_order(&self) -> bool {
        !matches!(self, Self::Bulk(_))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bulk(_) => "bulk",
            Self::Lines(_) => "http",
            Self::Lumberjack(_) => "lumberjack",
        })
    }
}
