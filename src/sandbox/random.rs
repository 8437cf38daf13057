//! Seeded chance, so that two sandboxes with one seed have the same traffic and the same names.

/// Kubernetes' alphabet for generated names: no vowels, so no words.
const NAME_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Above this mean, a rounded normal is close enough to a Poisson and does not take a loop per event.
const POISSON_LOOP_MEAN: f64 = 30.0;

/// The splitmix64 generator.
#[derive(Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    pub(super) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    pub(super) fn poisson(&mut self, mean: f64) -> u64 {
        if mean > POISSON_LOOP_MEAN {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u64;
        }
        let limit = (-mean).exp();
        let mut product = self.uniform();
        let mut events = 0;
        while product > limit {
            product *= self.uniform();
            events += 1;
        }
        events
    }

    /// The random end of a generated name.
    pub(super) fn suffix(&mut self, length: usize) -> String {
        (0..length).map(|_| name_letter(self.bits() % NAME_LETTERS.len() as u64)).collect()
    }

    pub(super) fn uid(&mut self) -> String {
        let (high, low) = (self.bits(), self.bits());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | ((low >> 48) & 0x3fff),
            low & 0xffff_ffff_ffff,
        )
    }
}

/// A number the way Kubernetes writes hashes into names.
pub(super) fn name_safe(number: u64) -> String {
    number.to_string().bytes().map(|digit| name_letter(u64::from(digit))).collect()
}

fn name_letter(number: u64) -> char {
    char::from(NAME_LETTERS[(number % NAME_LETTERS.len() as u64) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut a, mut b, mut c) = (Random::seeded(7), Random::seeded(7), Random::seeded(8));
        let sequence: Vec<u64> = (0..5).map(|_| a.bits()).collect();
        assert_eq!(sequence, (0..5).map(|_| b.bits()).collect::<Vec<_>>());
        assert_ne!(sequence, (0..5).map(|_| c.bits()).collect::<Vec<_>>());
    }

    #[test]
    fn means_are_what_was_asked_for() {
        let mut random = Random::seeded(1);
        for mean in [0.3, 5.0, 80.0] {
            let total: u64 = (0..20_000).map(|_| random.poisson(mean)).sum();
            let seen = total as f64 / 20_000.0;
            assert!((seen - mean).abs() < 0.03 * mean, "mean {mean}, seen {seen}");
        }
        let below = (0..20_000).filter(|_| random.log_normal(0.08, 0.5) < 0.08).count();
        assert!((9_600..10_400).contains(&below), "median is off: {below} of 20000 below it");
    }

    #[test]
    fn uids_look_like_version_4() {
        let uid = Random::seeded(3).uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(&uid[14..15], "4");
        assert!("89ab".contains(&uid[19..20]), "{uid}");
    }
}
