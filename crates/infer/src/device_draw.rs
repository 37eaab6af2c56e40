//! Choosing a token on the device of its scores: what [`crate::process::process_scores`] and [`draw`](crate::draw) do, in tensor operations, so that
//! a number comes back from a GPU and not the scores of a whole vocabulary.

use nn_core::{NnError, TorchContext};
use tch::{Kind, Tensor};
use torch_ext::cuda::upload;

use crate::SamplingConfig;
use crate::process::is_one;

/// Returns the token at which the running sum of the probabilities of `logits` passes `uniform`, or the most probable one where
/// nothing is drawn. `logits`: one row, `[.., V]`; `text` is the prompt and what was written behind it.
pub(crate) fn choose(
    logits: &Tensor,
    text: &[i64],
    sampling: &SamplingConfig,
    uniform: f64,
) -> Result<i64, NnError> {
    let scores = logits.f_to_kind(Kind::Float).op("to_kind")?.f_reshape([-1i64]).op("reshape")?; // [V]
    let scores = penalised(&scores, text, sampling.repetition_penalty)?;
    if !sampling.do_sample {
        return id(&scores.f_argmax(0, false).op("argmax")?);
    }
    let scores = scores.f_div_scalar(sampling.temperature).op("div")?;
    // Of equals the later id first, as the host has them.
    let (sorted, order) = scores.f_sort_stable(true, 0, false).op("sort")?;
    let (sorted, order) = (sorted.f_flip([0i64]).op("flip")?, order.f_flip([0i64]).op("flip")?);
    let sorted = cut(&sorted, sampling)?;
    let weights = sorted.f_sub(&sorted.f_narrow(0, 0, 1).op("narrow")?).op("sub")?.f_exp().op("exp")?;
    // Back in the order of the ids, in which the host adds them up.
    let weights =
        weights.f_zeros_like().op("zeros_like")?.f_index_copy(0, &order, &weights).op("index_copy")?;
    let sums = weights.f_cumsum(0, Kind::Double).op("cumsum")?;
    let total = sums.f_narrow(0, sums.size()[0] - 1, 1).op("narrow")?;
    let passed = sums.f_le_tensor(&total.f_mul_scalar(uniform).op("mul")?).op("le")?;
    // Rounding may leave none to pass: then it is the last that has any weight.
    let first = passed.f_sum(Kind::Int64).op("sum")?;
    let last = sums.f_lt_tensor(&total).op("lt")?.f_sum(Kind::Int64).op("sum")?;
    id(&first.f_minimum(&last).op("minimum")?)
}

fn id(tensor: &Tensor) -> Result<i64, NnError> {
    Ok(tensor.f_int64_value(&[]).op("int64_value")?)
}

fn penalised(scores: &Tensor, text: &[i64], penalty: f64) -> Result<Tensor, NnError> {
    if is_one(penalty) {
        return Ok(scores.shallow_clone());
    }
    let mut seen: Vec<i64> = text.iter().copied().filter(|id| (0..scores.size()[0]).contains(id)).collect();
    seen.sort_unstable();
    seen.dedup();
    let seen = upload(&seen, scores.device()).op("upload")?;
    let old = scores.f_index_select(0, &seen).op("index_select")?;
    let (more, less) = (old.f_mul_scalar(penalty).op("mul")?, old.f_div_scalar(penalty).op("div")?);
    let new = more.f_where_self(&old.f_lt(0.0).op("lt")?, &less).op("where")?;
    Ok(scores.f_index_copy(0, &seen, &new).op("index_copy")?)
}

/// Puts out what top-k, top-p and min-p put out. `sorted`: scores from the largest on.
fn cut(sorted: &Tensor, sampling: &SamplingConfig) -> Result<Tensor, NnError> {
    let mut sorted = sorted.shallow_clone();
    let put_out = |sorted: &mut Tensor, out: &Tensor| -> Result<(), NnError> {
        *sorted = sorted.f_masked_fill(out, f64::NEG_INFINITY).op("masked_fill")?;
        Ok(())
    };
    let k = sampling.top_k as i64;
    if k > 0 && k < sorted.size()[0] {
        let out = sorted.f_lt_tensor(&sorted.f_narrow(0, k - 1, 1).op("narrow")?).op("lt")?;
        put_out(&mut sorted, &out)?;
    }
    if sampling.top_p < 1.0 {
        let probabilities = sorted.f_softmax(0, Kind::Double).op("softmax")?;
        // What the better ones hold together already; the best always stays.
        let before = probabilities.f_cumsum(0, Kind::Double).op("cumsum")?.f_sub(&probabilities).op("sub")?;
        let out = before.f_ge(sampling.top_p).op("ge")?;
        let _ = out.f_narrow(0, 0, 1).op("narrow")?.f_fill_(0).op("fill_")?;
        put_out(&mut sorted, &out)?;
    }
    if sampling.min_p > 0.0 {
        let best = sorted.f_narrow(0, 0, 1).op("narrow")?;
        let out = sorted.f_sub(&best).op("sub")?.f_exp().op("exp")?.f_lt(sampling.min_p).op("lt")?;
        put_out(&mut sorted, &out)?;
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::draw;
    use crate::process::process_scores;
    use tch::Device;

    fn settings() -> Vec<SamplingConfig> {
        let plain = SamplingConfig {
            do_sample: true,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            ..SamplingConfig::default()
        };
        vec![
            plain.clone(),
            SamplingConfig { temperature: 0.3, top_k: 7, ..plain.clone() },
            SamplingConfig { top_p: 0.6, ..plain.clone() },
            SamplingConfig { top_p: 0.0, ..plain.clone() },
            SamplingConfig { min_p: 0.2, temperature: 1.7, ..plain.clone() },
            SamplingConfig { repetition_penalty: 1.8, ..plain.clone() },
            SamplingConfig { do_sample: false, repetition_penalty: 3.0, ..plain.clone() },
            SamplingConfig {
                temperature: 0.8,
                top_k: 40,
                top_p: 0.9,
                min_p: 0.05,
                repetition_penalty: 1.1,
                ..plain
            },
        ]
    }

    fn same_on(device: Device) {
        tch::manual_seed(11);
        let text = [3, 17, 3, 250, 1000];
        for (index, sampling) in settings().iter().enumerate() {
            for turn in 0..200 {
                let mut logits = Tensor::randn([1, 300], (Kind::Float, Device::Cpu)) * 2.0;
                if turn % 3 == 0 {
                    // Ties, also at the cuts.
                    logits = logits.round();
                }
                let uniform = (f64::from(turn) + 0.5) / 200.0;
                let mut scores = Vec::<f32>::try_from(logits.reshape([-1])).unwrap();
                process_scores(&mut scores, &text, sampling, 1);
                let largest = |scores: &[f32]| {
                    (0..scores.len()).rev().max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap() as i64
                };
                let expected = if sampling.do_sample { draw(&mut scores, uniform) } else { largest(&scores) };
                let actual = choose(&logits.to(device), &text, sampling, uniform).unwrap();
                assert_eq!(actual, expected, "settings {index}, turn {turn}");
            }
        }
    }

    #[test]
    fn tensor_operations_draw_what_the_host_draws() {
        same_on(Device::Cpu);
    }

    #[test]
    fn on_a_gpu_the_same_tokens_are_drawn() {
        if !torch_ext::cuda::is_available() {
            eprintln!("skipped: on_a_gpu_the_same_tokens_are_drawn needs a CUDA device");
            return;
        }
        same_on(Device::Cuda(0));
    }
}
