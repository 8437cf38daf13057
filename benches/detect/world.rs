//! One simulated service around one release: its pods, their requests, failures and response times, step by step.
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Poisson, StandardNormal};

use super::cells::{Cell, Old, Quirk, Signal, Trouble};
use super::times::{Grid, Kind, Speed};
use super::traffic::{Bursts, Failures, binomial, spread};

const PODS: u32 = 3;
/// How much more traffic the old pods serve.
const OLD_SHARE: f64 = 3.0;
const SPEED_SD: f64 = 0.08;
const WARM_UP: (f64, f64) = (2.0, 20.0);
const SLOW_BURST: f64 = 5.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    New,
    Old,
    /// Pods of another service, which was not released.
    Control,
}

/// What a pod or an arm counted since it began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub requests: u64,
    pub failed: u64,
    /// Response times per bucket of the grid.
    pub times: Vec<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub arm: Arm,
    pub from_secs: u32,
    pub until_secs: u32,
    pub totals: Totals,
    speed: f64,
    mix: Mix,
}

/// The bucket probabilities of a speed, kept for as long as that is the speed.
#[derive(Clone, Debug)]
struct Mix {
    speed: Speed,
    probabilities: Vec<f64>,
}

impl Mix {
    fn at(&mut self, grid: &Grid, speed: Speed) -> &[f64] {
        if self.probabilities.is_empty() || self.speed != speed {
            *self = Mix { speed, probabilities: grid.probabilities(speed) };
        }
        &self.probabilities
    }
}

impl Default for Mix {
    fn default() -> Self {
        Self { speed: Speed::USUAL, probabilities: Vec::new() }
    }
}

pub(crate) struct World {
    cell: Cell,
    rng: StdRng,
    pub grid: Grid,
    /// When a step ends that begins now.
    pub unit_secs: u32,
    pub now_secs: u32,
    pub onset_secs: u32,
    pub rollout_ended_secs: Option<u32>,
    pub pods: Vec<Pod>,
    pub new: Totals,
    pub old: Totals,
    pub control: Totals,
    failures: [Failures; 3],
    slow: [Bursts; 3],
}

impl World {
    pub(crate) fn new(cell: &Cell, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (kind, quirk) = match cell.signal {
            Signal::Errors(_) => (Kind::Classic, Quirk::None),
            Signal::Latency { kind, quirk } => (kind, quirk),
        };
        let grid = Grid::new(kind);
        let buckets = if matches!(cell.signal, Signal::Latency { .. }) { grid.buckets() } else { 0 };
        let totals = Totals { times: vec![0; buckets], ..Totals::default() };
        let rollout_secs = rng.random_range(12..=24) * 5;
        let onset_secs = match cell.trouble {
            Trouble::SharedErrors(_) | Trouble::SharedSlower(_) => rng.random_range(0..=120) * 5,
            Trouble::None | Trouble::Errors(_) | Trouble::Slower(_) | Trouble::Tail => cell.onset_secs,
        };
        let pods = pods(&mut rng, cell.old, rollout_secs, quirk, &totals);
        let shares = [Arm::New, Arm::Old, Arm::Control].map(share);
        let failures = shares.map(|share| failures(&mut rng, cell.signal, cell.rps * share));
        let slow = std::array::from_fn(|_| Bursts::new(&mut rng));
        Self {
            cell: cell.clone(),
            grid,
            unit_secs: cell.scrape_secs.min(5),
            now_secs: 0,
            onset_secs,
            rollout_ended_secs: (cell.old == Old::Leave).then_some(rollout_secs),
            pods,
            new: totals.clone(),
            old: totals.clone(),
            control: totals,
            failures,
            slow,
            rng,
        }
    }

    /// One unit of time.
    pub(crate) fn step(&mut self) {
        self.serve(Arm::New);
        self.serve(Arm::Old);
        self.serve(Arm::Control);
        self.now_secs += self.unit_secs;
    }

    fn serve(&mut self, arm: Arm) {
        let mean = self.cell.rps * share(arm) / f64::from(PODS) * f64::from(self.unit_secs);
        let Ok(arrivals) = Poisson::new(mean) else { return };
        let now = self.now_secs;
        let serving = |pod: &Pod| pod.arm == arm && pod.from_secs <= now && now < pod.until_secs;
        let here: Vec<usize> = (0..self.pods.len()).filter(|i| serving(&self.pods[*i])).collect();
        let mut served: Vec<u64> = here.iter().map(|_| arrivals.sample(&mut self.rng) as u64).collect();
        match self.cell.signal {
            Signal::Errors(_) => self.fail(arm, &here, &mut served),
            Signal::Latency { quirk, .. } => self.time(arm, quirk, &here, &served),
        }
        for (pod, n) in here.iter().zip(&served) {
            self.pods[*pod].totals.requests += n;
        }
        self.arm(arm).requests += served.iter().sum::<u64>();
    }

    fn arm(&mut self, arm: Arm) -> &mut Totals {
        match arm {
            Arm::New => &mut self.new,
            Arm::Old => &mut self.old,
            Arm::Control => &mut self.control,
        }
    }

    fn fail(&mut self, arm: Arm, here: &[usize], served: &mut [u64]) {
        let (now, unit) = (self.now_secs, self.unit_secs);
        let extra = self.extra(arm);
        let failures = &mut self.failures[arm as usize];
        let requests: u64 = served.iter().sum();
        let usual = failures.draw(&mut self.rng, now, unit, requests);
        let replaced: Option<Vec<u64>> =
            served.iter().map(|n| failures.replaced(&mut self.rng, *n)).collect();
        let places: Vec<u64> = match &replaced {
            // Clusters hit any pod, whatever it served.
            Some(_) => served.iter().map(|n| n + usual).collect(),
            None => served.to_vec(),
        };
        let spread_usual = spread(&mut self.rng, usual, &places);
        for (nth, pod) in here.iter().enumerate() {
            if let Some(replaced) = &replaced {
                served[nth] = served[nth] - replaced[nth] + spread_usual[nth];
            }
            let more = binomial(&mut self.rng, served[nth] - spread_usual[nth], extra);
            let failed = spread_usual[nth] + more;
            self.pods[*pod].totals.failed += failed;
            self.arm(arm).failed += failed;
        }
    }

    /// The share of otherwise successful requests that fails because of the trouble.
    fn extra(&self, arm: Arm) -> f64 {
        let Signal::Errors(healthy) = self.cell.signal else { return 0.0 };
        if self.now_secs < self.onset_secs {
            return 0.0;
        }
        let beyond = |ratio: f64| ((ratio - healthy.ratio()) / (1.0 - healthy.ratio())).max(0.0);
        match (self.cell.trouble, arm) {
            (Trouble::Errors(ratio), Arm::New) | (Trouble::SharedErrors(ratio), _) => beyond(ratio),
            (Trouble::Errors(_), Arm::Old | Arm::Control)
            | (Trouble::None | Trouble::Slower(_) | Trouble::Tail | Trouble::SharedSlower(_), _) => 0.0,
        }
    }

    fn time(&mut self, arm: Arm, quirk: Quirk, here: &[usize], served: &[u64]) {
        let (from, to) = (f64::from(self.now_secs), f64::from(self.now_secs + self.unit_secs));
        let bursting = match quirk {
            Quirk::Bursts => self.slow[arm as usize].share(&mut self.rng, from, to),
            Quirk::None | Quirk::UnevenPods | Quirk::UnevenArms | Quirk::WarmUp => 0.0,
        };
        let trouble = self.slowness(arm);
        let mut drawn = vec![0_u64; self.grid.buckets()];
        for (index, requests) in here.iter().zip(served) {
            let pod = &mut self.pods[*index];
            let age = (from + to) / 2.0 - f64::from(pod.from_secs);
            let cold = match (quirk, arm) {
                (Quirk::WarmUp, Arm::New) if age < 200.0 => 1.0 + WARM_UP.0 * (-age / WARM_UP.1).exp(),
                (_, _) => 1.0,
            };
            let speed = trouble.times(pod.speed * cold);
            let held_up = binomial(&mut self.rng, *requests, bursting);
            let mix = pod.mix.at(&self.grid, speed);
            self.grid.draw(&mut self.rng, requests - held_up, speed, mix, &mut drawn);
            if held_up > 0 {
                let slow = speed.times(SLOW_BURST);
                self.grid.draw(&mut self.rng, held_up, slow, &self.grid.probabilities(slow), &mut drawn);
            }
            let arm = match arm {
                Arm::New => &mut self.new,
                Arm::Old => &mut self.old,
                Arm::Control => &mut self.control,
            };
            let sums = pod.totals.times.iter_mut().zip(&mut arm.times);
            for ((of_pod, of_arm), count) in sums.zip(&mut drawn) {
                *of_pod += *count;
                *of_arm += std::mem::take(count);
            }
        }
    }

    fn slowness(&self, arm: Arm) -> Speed {
        let of = |factor, tail| Speed { factor, tail };
        match (self.cell.trouble, arm) {
            _ if self.now_secs < self.onset_secs => Speed::USUAL,
            (Trouble::Slower(factor), Arm::New) | (Trouble::SharedSlower(factor), _) => of(factor, false),
            (Trouble::Tail, Arm::New) => of(1.0, true),
            (Trouble::Slower(_) | Trouble::Tail, Arm::Old | Arm::Control)
            | (Trouble::None | Trouble::Errors(_) | Trouble::SharedErrors(_), _) => Speed::USUAL,
        }
    }

    /// The old pods' traffic of an hour before the release, in batches.
    pub(crate) fn history(&self, batches: u32, batch_secs: u32, seed: u64) -> Vec<Totals> {
        let mut past = World::new(&self.cell, seed);
        (past.cell.trouble, past.cell.old, past.unit_secs) = (Trouble::None, Old::Stay, batch_secs.min(5));
        past.pods = self.pods.iter().filter(|pod| pod.arm == Arm::Old).cloned().collect();
        past.pods.iter_mut().for_each(|pod| pod.until_secs = u32::MAX);
        (0..batches)
            .map(|_| {
                past.old = Totals { times: vec![0; past.old.times.len()], ..Totals::default() };
                let end = past.now_secs + batch_secs;
                while past.now_secs < end {
                    past.serve(Arm::Old);
                    past.now_secs += past.unit_secs;
                }
                past.old.clone()
            })
            .collect()
    }
}

/// How much of the new pods' traffic an arm serves.
fn share(arm: Arm) -> f64 {
    match arm {
        Arm::New => 1.0,
        Arm::Old | Arm::Control => OLD_SHARE,
    }
}

fn failures(rng: &mut StdRng, signal: Signal, rps: f64) -> Failures {
    let model = match signal {
        Signal::Errors(healthy) => healthy,
        Signal::Latency { .. } => super::traffic::Healthy::Independent { ratio: 0.0 },
    };
    Failures::new(rng, model, rps)
}

fn pods(rng: &mut StdRng, old: Old, rollout_secs: u32, quirk: Quirk, totals: &Totals) -> Vec<Pod> {
    let mut uneven = || {
        let z: f64 = StandardNormal.sample(rng);
        (z * SPEED_SD).exp()
    };
    let arms = [uneven(), uneven(), uneven()];
    // Moments that all scrape intervals have in common.
    let moment = |nth: u32| (rollout_secs * nth / PODS) / 5 * 5;
    let mut pods = Vec::new();
    // Where old pods stay, nobody needs another service to compare with.
    let present = [Arm::New, Arm::Old, Arm::Control].into_iter();
    let present = present.filter(|arm| *arm != Arm::Control || old == Old::Leave);
    for (arm, nth) in present.flat_map(|arm| (0..PODS).map(move |nth| (arm, nth))) {
        let (from_secs, until_secs) = match (old, arm) {
            (Old::Stay, _) | (Old::Leave, Arm::Control) => (0, u32::MAX),
            (Old::Leave, Arm::New) => (moment(nth), u32::MAX),
            (Old::Leave, Arm::Old) => (0, moment(nth + 1)),
        };
        let speed = match quirk {
            Quirk::UnevenPods => uneven(),
            Quirk::UnevenArms => arms[arm as usize],
            Quirk::None | Quirk::WarmUp | Quirk::Bursts => 1.0,
        };
        let totals = totals.clone();
        pods.push(Pod { arm, from_secs, until_secs, totals, speed, mix: Mix::default() });
    }
    pods
}
