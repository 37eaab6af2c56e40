//! Operations of a training step, and how many of them a second libtorch's products reach.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use checkpoint::linears;
use llama_model::LlamaConfig;
use tch::{Device, Kind, Tensor, no_grad_guard};

/// Turns of each product; the fastest counts.
const TURNS: usize = 4;

/// Returns the rows and columns of every weight that a token is multiplied with: linear layers and head.
fn weights(config: &LlamaConfig) -> Vec<(i64, i64)> {
    let linears = linears(config).into_iter().map(|linear| (linear.rows, linear.columns));
    linears.chain([(config.vocab_size, config.hidden_size)]).collect()
}

/// Counts the floating-point operations of one step with LoRA on sequences of these lengths, in 10⁹:
/// `4 N` a token for the `N` numbers of those weights (2 forward, 2 backward to the inputs; a frozen weight has no gradient), and for
/// causal attention `6 T (T + 1) H D` a layer and sequence of `T` tokens (two products forward and four backward over the `T (T + 1) / 2` pairs,
/// 2 operations for each of the `H D` channels). Adapters, norms and what is computed twice are not counted.
pub(super) fn step_gflop(config: &LlamaConfig, seq_lens: &[usize]) -> f64 {
    let weights: i64 = weights(config).iter().map(|(rows, columns)| rows * columns).sum();
    let channels = config.num_hidden_layers as f64 * (config.num_attention_heads * config.head_dim) as f64;
    let of_sequence = |&len: &usize| {
        let len = len as f64;
        4.0 * weights as f64 * len + 6.0 * len * (len + 1.0) * channels
    };
    seq_lens.iter().map(of_sequence).sum::<f64>() / 1e9
}

/// Measures the rate of libtorch's products with `rows` rows at all shapes of the model, forward and backward to the inputs, in 10⁹
/// operations a second: all operations over the time that all layers and the head would take.
pub(super) fn product_rate(config: &LlamaConfig, kind: Kind, rows: i64) -> Result<f64> {
    let _guard = no_grad_guard();
    let mut layers = BTreeMap::new();
    for shape in weights(config) {
        *layers.entry(shape).or_insert(0) += 1;
    }
    let random = |rows, columns| Tensor::f_randn([rows, columns], (kind, Device::Cpu));
    let (mut operations, mut seconds) = (0.0, 0.0);
    for ((outputs, inputs), count) in layers {
        let (weight, xs, ys) = (random(outputs, inputs)?, random(rows, inputs)?, random(rows, outputs)?);
        let mut best = f64::INFINITY;
        for _ in 0..TURNS {
            let start = Instant::now();
            drop((xs.f_linear(&weight, None::<&Tensor>)?, ys.f_matmul(&weight)?));
            best = best.min(start.elapsed().as_secs_f64());
        }
        operations += f64::from(count) * 4.0 * (rows * outputs * inputs) as f64;
        seconds += f64::from(count) * best;
    }
    Ok(operations / seconds / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_of_a_step_are_those_of_its_products_one_by_one() {
        let config = LlamaConfig { num_key_value_heads: 1, ..LlamaConfig::new(50, 8, 12, 3, 2) };
        // A product of [rows, n] and [n, columns] multiplies and adds `rows n columns` times.
        let mut expected = 0;
        for len in [5i64, 7] {
            for _ in 0..3 {
                let (queries, keys) = (8 * 8, 8 * 4);
                expected += 2 * 2 * len * (2 * queries + 2 * keys + 3 * 8 * 12);
                // Position `i` looks at `i` positions and itself: scores and mixing, and two gradients of each.
                expected += (1..=len).map(|i| 6 * 2 * i * 8).sum::<i64>();
            }
            expected += 2 * 2 * len * 8 * 50;
        }
        assert!((step_gflop(&config, &[5, 7]) * 1e9 - expected as f64).abs() < 0.5);
    }
}
