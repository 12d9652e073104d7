//! Which objects are asked for, and how large they are: the mix that the load generator sends and the
//! simulation replays.

use fastrand::Rng;

/// Draws objects 0 to n-1; the object of rank r (from 1) as often as 1/r^exponent says.
pub(crate) struct Zipf {
    /// The sum of all weights up to each object.
    cumulative: Vec<f64>,
}

impl Zipf {
    pub(crate) fn new(objects: u32, exponent: f64) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=objects).map(|rank| {
            sum += f64::from(rank).powf(-exponent);
            sum
        });
        Self { cumulative: cumulative.collect() }
    }

    pub(crate) fn draw(&self, rng: &mut Rng) -> usize {
        let sum = self.cumulative.last().copied().unwrap_or(0.0);
        let point = rng.f64() * sum;
        self.cumulative.partition_point(|weight| *weight <= point).min(self.cumulative.len() - 1)
    }
}

/// The sizes of that many objects, in bytes: lognormal, and between 1 and 256 KiB. Always the same.
///
/// The average is 51 to 52 KiB, so that 20,000 objects are about 1 GiB.
pub(crate) fn sizes(objects: u32) -> Vec<u32> {
    let mut rng = Rng::with_seed(1);
    (0..objects).map(|_| size(normal(&mut rng))).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 256 KiB")]
fn size(normal: f64) -> u32 {
    (MEDIAN * (SIGMA * normal).exp()).clamp(1024.0, 262_144.0) as u32
}

/// A value of the standard normal distribution (Box and Muller).
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

/// Of the sizes, in bytes.
const MEDIAN: f64 = 36.0 * 1024.0;
/// Of the logarithms of the sizes.
const SIGMA: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_by_rank() {
        let zipf = Zipf::new(1000, 1.0);
        let mut rng = Rng::with_seed(7);
        let mut counts = [0_u32; 1000];
        for _ in 0..100_000 {
            counts[zipf.draw(&mut rng)] += 1;
        }
        // The sum of 1/r up to 1,000 is 7.485.
        assert!((13_000..13_700).contains(&counts[0]), "{}", counts[0]);
        assert!((1_250..1_430).contains(&counts[9]), "{}", counts[9]);
    }

    #[test]
    fn twenty_thousand_objects_are_about_a_gibibyte() {
        let sizes = sizes(20_000);
        assert!(sizes.iter().all(|size| (1024..=262_144).contains(size)));
        let mib = sizes.iter().map(|size| u64::from(*size)).sum::<u64>() >> 20;
        assert!((960..1090).contains(&mib), "{mib} MiB");
    }
}
