//! Many watches of a cell on several threads; what comes out does not depend on how many.
use std::sync::atomic::{AtomicU64, Ordering};

use super::cells::{Cell, WATCH_SECS};
use super::contest::Contest;
use super::ours::{Decided, Ours, OursError};
use super::track::Track;
use super::world::World;

/// What became of one watch.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub watch: u64,
    pub onset_secs: u32,
    pub ours: Decided,
    pub peers: [Option<u32>; 6],
}

/// All watches of a cell, in order.
pub(crate) fn cell(cell: &Cell, threads: usize, with_peers: bool) -> Result<Vec<Outcome>, OursError> {
    let next = AtomicU64::new(0);
    let work = || -> Result<Vec<Outcome>, OursError> {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= cell.watches {
                return Ok(done);
            }
            done.push(watch(cell, index, with_peers)?);
        }
    };
    let mut outcomes = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::new();
        for worker in workers {
            match worker.join() {
                Ok(done) => all.extend(done?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, OursError>(all)
    })?;
    outcomes.sort_by_key(|outcome| outcome.watch);
    Ok(outcomes)
}

fn watch(cell: &Cell, index: u64, with_peers: bool) -> Result<Outcome, OursError> {
    let seed = seed(&cell.name, index);
    let mut world = World::new(cell, seed);
    let mut ours = Ours::new(cell, &world, seed ^ 0x5eed)?;
    let mut track = Track::new(world.unit_secs);
    let mut contest = Contest::new(cell.signal, cell.old, cell.scrape_secs);
    while world.now_secs < WATCH_SECS {
        world.step();
        if world.now_secs.is_multiple_of(cell.scrape_secs) {
            ours.look(&world)?;
        }
        if with_peers {
            track.push(&world.new, &world.old);
            contest.look(&track, &world.grid, world.now_secs);
        }
        if ours.decided.rollback.is_some() && (!with_peers || contest.all_decided()) {
            break;
        }
    }
    let (ours, onset_secs) = (ours.decided, world.onset_secs);
    Ok(Outcome { watch: index, onset_secs, ours, peers: contest.decided })
}

/// A seed of its own for each watch, from the cell's name (FNV-1a) and the watch's number (SplitMix64).
fn seed(name: &str, index: u64) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut z = hash.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
