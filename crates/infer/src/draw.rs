//! Drawing tokens at random, from numbers that depend on a request's own seed and place alone.

use nn_core::mix_seed;

/// The random numbers of one request: a function of the seed, the position in the text and a lane, so that it does not
/// matter who else is in the batch, or in which order requests are served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draws {
    seed: u64,
}

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Draws uniformly in (0, 1), for the token at `position` of the answer.
    pub(crate) fn uniform(self, position: usize, lane: usize) -> f64 {
        let bits = mix_seed(mix_seed(self.seed, position as u64), lane as u64) >> 11;
        (bits as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Draws Gumbel noise: the largest of (log-probability + noise) is a draw, the `n` largest are `n` draws without
    /// replacement (Kool, van Hoof and Welling, 2019, arXiv 1903.06059).
    pub(crate) fn gumbel(self, position: usize, lane: usize) -> f64 {
        -(-self.uniform(position, lane).ln()).ln()
    }
}

/// Returns the token at which the running sum of the probabilities of `scores` passes `uniform`; spoils the scores.
pub(crate) fn draw(scores: &mut [f32], uniform: f64) -> i64 {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for score in scores.iter_mut() {
        *score = if *score == f32::NEG_INFINITY { 0.0 } else { (*score - largest).exp() };
        total += f64::from(*score);
    }
    let target = uniform * total;
    let mut sum = 0.0;
    let mut last = 0;
    for (id, &weight) in scores.iter().enumerate() {
        if weight > 0.0 {
            sum += f64::from(weight);
            last = id;
            if sum > target {
                break;
            }
        }
    }
    last as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Upper 0.1 % point of chi-square with 7 degrees of freedom.
    const CHI_SQUARE_7: f64 = 24.3;
    const DRAWS: usize = 20_000;

    fn scores() -> Vec<f32> {
        vec![1.0, -0.5, f32::NEG_INFINITY, 2.0, 0.0, 0.3, -1.5, 1.7, 0.9]
    }

    fn probabilities() -> Vec<f64> {
        let weights: Vec<f64> = scores().iter().map(|&score| f64::from(score).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect()
    }

    fn chi_square(counts: &[usize]) -> f64 {
        assert_eq!(counts[2], 0);
        let expected = probabilities().into_iter().map(|p| p * DRAWS as f64);
        let parts = counts.iter().zip(expected).filter(|(_, expected)| *expected > 0.0);
        parts.map(|(&count, expected)| (count as f64 - expected).powi(2) / expected).sum()
    }

    #[test]
    fn tokens_are_drawn_as_often_as_their_probability_says() {
        for (by_seed, lane) in [(false, 0), (true, 0), (true, 5)] {
            let mut counts = [0; 9];
            for i in 0..DRAWS {
                let (seed, position) = if by_seed { (i as u64, 3) } else { (42, i) };
                counts[draw(&mut scores(), Draws::new(seed).uniform(position, lane)) as usize] += 1;
            }
            assert!(chi_square(&counts) < CHI_SQUARE_7, "{counts:?}");
        }
    }

    #[test]
    fn the_largest_with_gumbel_noise_is_a_draw() {
        let mut counts = [0; 9];
        for position in 0..DRAWS {
            let noisy = scores().into_iter().enumerate();
            let noisy = noisy.map(|(id, score)| f64::from(score) + Draws::new(7).gumbel(position, id));
            let (id, _) = noisy.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            counts[id] += 1;
        }
        assert!(chi_square(&counts) < CHI_SQUARE_7, "{counts:?}");
    }

    #[test]
    fn the_ends_of_the_interval_draw_tokens_that_are_in() {
        assert_eq!(draw(&mut [f32::NEG_INFINITY, 0.0, 0.0, f32::NEG_INFINITY], 1e-17), 1);
        assert_eq!(draw(&mut [f32::NEG_INFINITY, 0.0, 0.0, f32::NEG_INFINITY], 1.0), 2);
    }
}
