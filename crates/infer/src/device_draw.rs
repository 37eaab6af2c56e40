//! Choosing tokens on the device of their scores: what [`crate::process::process_scores`] and [`draw`](crate::draw) do, in tensor
//! operations over all rows, so that a number for each comes back from a GPU and not the scores of a whole vocabulary.

use nn_core::{NnError, TorchContext};
use tch::{Kind, Tensor};
use torch_ext::cuda::upload;

use crate::SamplingConfig;
use crate::process::is_one;

/// Scores that are worked on at one time: a few hundred MB of sorted numbers and sums.
const SCORES: usize = 1 << 22;

/// A token to choose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'a> {
    /// Row of the logits.
    pub(crate) place: usize,
    /// The prompt and what was written behind it.
    pub(crate) text: &'a [i64],
    pub(crate) sampling: &'a SamplingConfig,
    /// The number in (0, 1) that decides.
    pub(crate) uniform: f64,
}

/// Returns for each of `choices` the token at which the running sum of the probabilities of its row of `logits`, `[n, V]`, passes
/// its number; the most probable one where nothing is drawn.
pub(crate) fn choose(logits: &Tensor, choices: &[Choice<'_>]) -> Result<Vec<i64>, NnError> {
    let vocab_size = logits.size()[1].max(1) as usize;
    let mut ids = Vec::with_capacity(choices.len());
    for choices in choices.chunks((SCORES / vocab_size).max(1)) {
        let places: Vec<i64> = choices.iter().map(|choice| choice.place as i64).collect();
        let rows = if places.iter().copied().eq(0..logits.size()[0]) {
            logits.shallow_clone()
        } else {
            let places = upload(&places, logits.device()).op("upload")?;
            logits.f_index_select(0, &places).op("index_select")?
        };
        let chosen = Settings::new(choices, &rows)?.choose(&penalised(&rows, choices)?)?;
        ids.extend(Vec::<i64>::try_from(&chosen).op("to_vec")?);
    }
    Ok(ids)
}

/// Divides the scores of the tokens of each text by its penalty, or multiplies them where they are negative. `rows`: `[m, V]`.
fn penalised(rows: &Tensor, choices: &[Choice<'_>]) -> Result<Tensor, NnError> {
    let scores = rows.f_to_kind(Kind::Float).op("to_kind")?;
    let (mut seen, mut penalties) = (Vec::new(), Vec::new());
    let vocab_size = scores.size()[1];
    for (row, Choice { text, sampling, .. }) in (0..).zip(choices) {
        if is_one(sampling.repetition_penalty) {
            continue;
        }
        let mut ids: Vec<i64> = text.iter().copied().filter(|id| (0..vocab_size).contains(id)).collect();
        ids.sort_unstable();
        ids.dedup();
        seen.extend(ids.into_iter().map(|id| row * vocab_size + id));
        penalties.resize(seen.len(), sampling.repetition_penalty as f32);
    }
    if seen.is_empty() {
        return Ok(scores);
    }
    let (seen, penalties) =
        (upload(&seen, scores.device()).op("upload")?, upload(&penalties, scores.device()).op("upload")?);
    let flat = scores.f_reshape([-1i64]).op("reshape")?;
    let old = flat.f_index_select(0, &seen).op("index_select")?;
    let (more, less) = (old.f_mul(&penalties).op("mul")?, old.f_div(&penalties).op("div")?);
    let new = more.f_where_self(&old.f_lt(0.0).op("lt")?, &less).op("where")?;
    Ok(flat.f_index_copy(0, &seen, &new).op("index_copy")?.f_view_as(&scores).op("view_as")?)
}

/// The settings of some rows, one column for each setting.
struct Settings {
    /// `[m, 1]`, float32.
    temperature: Tensor,
    /// Place of the last that top-k keeps, `[m, 1]` int64; `None` where every row keeps all.
    last_kept: Option<Tensor>,
    /// `[m, 1]`, float64; `None` where every row keeps all.
    top_p: Option<Tensor>,
    /// `[m, 1]`, float32; `None` where every row keeps all.
    min_p: Option<Tensor>,
    /// `[m, 1]`, float64.
    uniform: Tensor,
}

impl Settings {
    /// Puts the settings of `choices` beside their `scores`, `[m, V]`, in one copy.
    fn new(choices: &[Choice<'_>], scores: &Tensor) -> Result<Self, NnError> {
        let vocab_size = scores.size()[1] as usize;
        let rows = choices.iter().flat_map(|Choice { sampling, uniform, .. }| {
            if !sampling.do_sample {
                // The first of the most probable ones.
                return [1.0, 0.0, ALL, 0.0, 0.0];
            }
            let kept = if sampling.top_k == 0 { vocab_size } else { sampling.top_k.min(vocab_size) };
            let top_p = if sampling.top_p < 1.0 { sampling.top_p } else { ALL };
            [sampling.temperature, kept as f64 - 1.0, top_p, sampling.min_p, *uniform]
        });
        let rows: Vec<f64> = rows.collect();
        let table = upload(&rows, scores.device()).op("upload")?.f_view([-1, 5]).op("view")?;
        let column =
            |index: i64, kind| table.f_narrow(1, index, 1).op("narrow")?.f_to_kind(kind).op("to_kind");
        let cuts = |index: usize, nothing: f64| rows.chunks(5).any(|row| (row[index] - nothing).abs() > 0.0);
        let some = |index: usize, nothing, kind| {
            cuts(index, nothing).then(|| column(index as i64, kind)).transpose()
        };
        Ok(Self {
            temperature: column(0, Kind::Float)?,
            last_kept: some(1, vocab_size as f64 - 1.0, Kind::Int64)?,
            top_p: some(2, ALL, Kind::Double)?,
            min_p: some(3, 0.0, Kind::Float)?,
            uniform: column(4, Kind::Double)?,
        })
    }

    /// Returns the token of each row of `scores`, `[m, V]`: `[m]` int64.
    fn choose(&self, scores: &Tensor) -> Result<Tensor, NnError> {
        let scores = scores.f_div(&self.temperature).op("div")?;
        // Of equals the later id first, as the host has them.
        let (sorted, order) = scores.f_sort_stable(true, 1, false).op("sort")?;
        let (sorted, order) = (sorted.f_flip([1i64]).op("flip")?, order.f_flip([1i64]).op("flip")?);
        let sorted = self.cut(sorted)?;
        let weights = sorted.f_sub(&first(&sorted)?).op("sub")?.f_exp().op("exp")?;
        // Back in the order of the ids, in which the host adds them up.
        let weights =
            weights.f_zeros_like().op("zeros_like")?.f_scatter(1, &order, &weights).op("scatter")?;
        let sums = weights.f_cumsum(1, Kind::Double).op("cumsum")?;
        let total = sums.f_narrow(1, sums.size()[1] - 1, 1).op("narrow")?;
        let passed = sums.f_le_tensor(&total.f_mul(&self.uniform).op("mul")?).op("le")?;
        let count = |xs: &Tensor| xs.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Int64).op("sum");
        // Rounding may leave none to pass: then it is the last that has any weight.
        let last = count(&sums.f_lt_tensor(&total).op("lt")?)?;
        Ok(count(&passed)?.f_minimum(&last).op("minimum")?)
    }

    /// Puts out what top-k, top-p and min-p put out. `sorted`: scores from the largest on.
    fn cut(&self, mut sorted: Tensor) -> Result<Tensor, NnError> {
        let put_out =
            |sorted: &Tensor, out: &Tensor| sorted.f_masked_fill(out, f64::NEG_INFINITY).op("masked_fill");
        if let Some(last) = &self.last_kept {
            let floor = sorted.f_gather(1, last, false).op("gather")?;
            sorted = put_out(&sorted, &sorted.f_lt_tensor(&floor).op("lt")?)?;
        }
        if let Some(top_p) = &self.top_p {
            let probabilities = sorted.f_softmax(1, Kind::Double).op("softmax")?;
            // What the better ones hold together already; the best always stays.
            let before =
                probabilities.f_cumsum(1, Kind::Double).op("cumsum")?.f_sub(&probabilities).op("sub")?;
            let out = before.f_ge_tensor(top_p).op("ge")?;
            let _ = first(&out)?.f_fill_(0).op("fill_")?;
            sorted = put_out(&sorted, &out)?;
        }
        if let Some(min_p) = &self.min_p {
            let ratio = sorted.f_sub(&first(&sorted)?).op("sub")?.f_exp().op("exp")?;
            sorted = put_out(&sorted, &ratio.f_lt_tensor(min_p).op("lt")?)?;
        }
        Ok(sorted)
    }
}

/// More than any sum of probabilities.
const ALL: f64 = 2.0;

/// Returns the first column, `[m, 1]`.
fn first(xs: &Tensor) -> Result<Tensor, NnError> {
    Ok(xs.f_narrow(1, 0, 1).op("narrow")?)
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
        let texts: [&[i64]; 3] = [&[3, 17, 3, 250, 1000], &[], &[299, 0, 299]];
        let settings = settings();
        for turn in 0..200 {
            let mut logits =
                Tensor::randn([settings.len() as i64 + 1, 300], (Kind::Float, Device::Cpu)) * 2.0;
            if turn % 3 == 0 {
                // Ties, also at the cuts.
                logits = logits.round();
            }
            // All at once, in another order than that of the rows, and one by one.
            let choice = |index: usize| Choice {
                place: settings.len() - index,
                text: texts[(turn + index) % 3],
                sampling: &settings[index],
                uniform: ((turn * 7 + index * 3) % 200) as f64 / 200.0 + 0.0025,
            };
            let choices: Vec<Choice<'_>> = (0..settings.len()).map(choice).collect();
            let on_device = logits.to(device);
            let together = choose(&on_device, &choices).unwrap();
            for (index, choice) in choices.iter().enumerate() {
                let Choice { place, text, sampling, uniform } = *choice;
                let mut scores = Vec::<f32>::try_from(logits.get(place as i64)).unwrap();
                process_scores(&mut scores, text, sampling, 1);
                let largest = |scores: &[f32]| {
                    (0..scores.len()).rev().max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap() as i64
                };
                let expected = if sampling.do_sample { draw(&mut scores, uniform) } else { largest(&scores) };
                assert_eq!(together[index], expected, "settings {index}, turn {turn}");
                let alone = choose(&on_device, &choices[index..=index]).unwrap();
                assert_eq!(alone, [expected], "settings {index} alone, turn {turn}");
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
