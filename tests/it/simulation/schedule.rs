//! What happens in one schedule and when: drawn from a seed, and from nothing else.
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rollguard::domain::policy::Mode;

use super::world::Trouble;

/// Something that goes wrong, or that somebody does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Happening {
    /// The feed is interrupted for so many seconds.
    FeedGap(i64),
    SourceGap(i64),
    /// The target can be neither read nor changed.
    TargetDown(i64),
    /// Changes happen, and the answers are lost.
    AnswersLost(i64),
    /// Changes take half a minute to arrive.
    Slow(i64),
    /// Every write of the journal fails.
    DiskFull(i64),
    /// So many writes are durable, and their writer is told that they failed.
    WritesInDoubt(u32),
    ChannelDown(i64),
    /// The daemon dies after so many points, and is back after so many seconds.
    Kill {
        points: u64,
        down: i64,
    },
    /// Another daemon takes over, and the older one knows nothing of it.
    SecondDaemon,
    /// The daemons' clocks are set, forward or back.
    ClockSet(i64),
    KillSwitch {
        on: bool,
    },
    /// A version that works is released after the bad one.
    HotFix,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) mode: Mode,
    pub(crate) trouble: Trouble,
    /// With the second at which each happens, in order.
    pub(crate) happenings: Vec<(i64, Happening)>,
    /// Seconds that a person takes to answer, and whether they do what they are asked for.
    pub(crate) thinks: i64,
    pub(crate) agrees: bool,
}

/// When the version is released that all of this is about.
pub(crate) const RELEASE_AT: i64 = 60;
/// Until then something may begin to go wrong.
const TROUBLED: i64 = 320;

impl Schedule {
    pub(crate) fn draw(seed: u64) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mode = *[Mode::Auto, Mode::Auto, Mode::Auto, Mode::Approval, Mode::Page].choose(rng).unwrap();
        let trouble =
            [Trouble::Errors, Trouble::Errors, Trouble::CrashLoop, Trouble::CrashLoop, Trouble::None];
        let trouble = *trouble.choose(rng).unwrap();
        let count = rng.random_range(1..=6);
        let mut happenings: Vec<(i64, Happening)> =
            (0..count).map(|_| (rng.random_range(20..TROUBLED) / 5 * 5, happening(rng))).collect();
        happenings.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            mode,
            trouble,
            happenings,
            thinks: rng.random_range(0..160),
            agrees: rng.random_bool(0.8),
        }
    }

    /// A release in which nothing else happens.
    pub(crate) fn calm(mode: Mode, trouble: Trouble) -> Self {
        Self { seed: 0, mode, trouble, happenings: vec![], thinks: 10, agrees: true }
    }

    pub(crate) fn has(&self, is: impl Fn(&Happening) -> bool) -> bool {
        self.happenings.iter().any(|(_, happening)| is(happening))
    }

    /// Nothing but deaths, and failures of what the decision does not depend on.
    pub(crate) fn leaves_sight(&self) -> bool {
        !self.has(|happening| match happening {
            Happening::FeedGap(_)
            | Happening::SourceGap(_)
            | Happening::TargetDown(_)
            | Happening::ClockSet(_)
            | Happening::KillSwitch { .. }
            | Happening::HotFix
            | Happening::DiskFull(_) => true,
            Happening::AnswersLost(_)
            | Happening::Slow(_)
            | Happening::WritesInDoubt(_)
            | Happening::ChannelDown(_)
            | Happening::Kill { .. }
            | Happening::SecondDaemon => false,
        })
    }
}

fn happening(rng: &mut StdRng) -> Happening {
    let secs = rng.random_range(5..150);
    match rng.random_range(0..17) {
        0 => Happening::FeedGap(secs),
        1 => Happening::SourceGap(secs),
        2 => Happening::TargetDown(secs),
        3 | 4 => Happening::AnswersLost(secs),
        5 => Happening::Slow(secs),
        6 => Happening::DiskFull(secs),
        7 => Happening::WritesInDoubt(rng.random_range(1..6)),
        8 => Happening::ChannelDown(secs),
        9..=11 => Happening::Kill { points: rng.random_range(0..40), down: secs },
        12 | 13 => Happening::SecondDaemon,
        14 => Happening::ClockSet(rng.random_range(-900..900)),
        15 => Happening::KillSwitch { on: rng.random_bool(0.6) },
        _ => Happening::HotFix,
    }
}
