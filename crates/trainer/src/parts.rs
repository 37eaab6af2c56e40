//! A micro-batch in parts, each on a thread of its own.
//!
//! libtorch shares every operation out between threads, which wait for each other a thousand times in a step. Where a
//! micro-batch has sequences enough, each thread here runs the whole model on some of them, and waits once: faster for
//! models whose operations are short, and hardly slowed down by other programs that take a processor away for a while.

use std::panic::resume_unwind;
use std::thread;

use nn_core::{BoxError, Mode, SharedLeaves, SharedLoss, TokenBatch, TorchContext, Trainable, mix_seed};
use tch::{Device, Tensor};

use crate::TrainError;
use crate::pass::{backward, loss_sum, to_number};

/// Share of its time that a thread has to be busy, for parts to be worth while.
const LEAST_BUSY: f64 = 0.9;

/// The parts of a micro-batch, at least two.
pub(crate) struct Parts {
    /// Sequences of the calling thread.
    first: TokenBatch,
    others: Vec<Other>,
    /// Threads of each part.
    threads: i32,
}

/// Sequences of another thread, and its handle on the model.
struct Other {
    batch: TokenBatch,
    loss: SharedLoss,
    leaves: SharedLeaves,
}

impl Parts {
    /// Cuts a micro-batch between as many threads as libtorch has; `None` where one part is as good, or `trainable` cannot be
    /// shared. The cut depends on the lengths of the sequences and the number of threads alone.
    pub(crate) fn of(
        batch: &TokenBatch,
        trainable: &dyn Trainable,
        parameters: &[(String, Tensor)],
    ) -> Option<Self> {
        if parameters.first()?.1.device() != Device::Cpu || batch.validate().is_err() {
            return None;
        }
        let all = tch::get_num_threads();
        let mut batches = cut(batch, usize::try_from(all).ok()?)?;
        let threads = (all / i32::try_from(batches.len()).ok()?).max(1);
        let first = batches.remove(0);
        let other = |batch| {
            let leaves = SharedLeaves::of(parameters.iter().map(|(_, tensor)| tensor));
            Some(Other { batch, loss: trainable.share(&leaves)?, leaves })
        };
        let others = batches.into_iter().map(other).collect::<Option<_>>()?;
        Some(Self { first, others, threads })
    }

    /// Runs forward and backward over all parts, of the sum divided by `divisor`; their gradients are added to those of
    /// `parameters` in the order of the parts. Returns the sum of the cross-entropies, float64 `[1]`.
    pub(crate) fn backward(
        self,
        trainable: &dyn Trainable,
        parameters: &[(String, Tensor)],
        seed: u64,
        divisor: f64,
    ) -> Result<Tensor, TrainError> {
        let run = |loss: &dyn Fn(&TokenBatch, Mode) -> Result<Tensor, BoxError>, batch: &TokenBatch, seed| {
            let sum = loss_sum(loss, batch, Mode::Train { seed })?;
            backward(&sum, divisor)?;
            to_number(&sum)
        };
        let restored = RestoredThreads(tch::get_num_threads());
        let results = thread::scope(|scope| {
            let start = |(index, other): (usize, Other)| {
                thread::Builder::new().name(format!("part {}", index + 2)).spawn_scoped(scope, move || {
                    tch::set_num_threads(self.threads);
                    let sum = run(&*other.loss, &other.batch, mix_seed(seed, index as u64));
                    (sum, other.leaves)
                })
            };
            let started = self.others.into_iter().enumerate().map(start);
            let started = started.collect::<Result<Vec<_>, _>>().map_err(TrainError::Thread)?;
            tch::set_num_threads(self.threads);
            let first = run(&|batch, mode| trainable.loss_sum(batch, mode), &self.first, seed);
            let others =
                started.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            Ok::<_, TrainError>((first, others.collect::<Vec<_>>()))
        });
        drop(restored);
        let (first, others) = results?;
        let mut total = first?;
        for (sum, leaves) in others {
            total = total.f_add(&sum?).op("add")?;
            for ((_, parameter), leaf) in parameters.iter().zip(leaves.leaves()) {
                let (mut grad, part) = (parameter.f_grad().op("grad")?, leaf.f_grad().op("grad")?);
                if grad.defined() && part.defined() {
                    let _ = grad.f_add_(&part).op("add_")?;
                }
            }
        }
        Ok(total)
    }
}

/// Gives the thread that holds it its number of libtorch's threads back.
struct RestoredThreads(i32);

impl Drop for RestoredThreads {
    fn drop(&mut self) {
        tch::set_num_threads(self.0);
    }
}

/// Cuts a batch into as many parts as there are threads, or half as many, and so on, whose threads are all busy.
fn cut(batch: &TokenBatch, threads: usize) -> Option<Vec<TokenBatch>> {
    let counts = std::iter::successors(Some(threads), |count| Some(count / 2)).take_while(|&count| count > 1);
    counts
        .map(|count| -> Vec<TokenBatch> {
            balanced(&batch.seq_lens, count).iter().map(|part| batch.select(part)).collect()
        })
        .find(|parts| {
            let longest = parts.iter().map(TokenBatch::num_tokens).max().unwrap_or(0);
            let busy = batch.num_tokens() as f64 / (longest * parts.len()).max(1) as f64;
            busy >= LEAST_BUSY && parts.iter().all(|part| part.num_targets() > 0)
        })
}

/// Shares sequences out: the longest first, each to the part with the fewest tokens so far.
fn balanced(seq_lens: &[usize], count: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..seq_lens.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(seq_lens[index]));
    let mut parts = vec![(0, Vec::new()); count];
    for index in order {
        if let Some((tokens, part)) = parts.iter_mut().min_by_key(|(tokens, _)| *tokens) {
            *tokens += seq_lens[index];
            part.push(index);
        }
    }
    let in_order = |(_, mut part): (usize, Vec<usize>)| {
        part.sort_unstable();
        part
    };
    parts.into_iter().map(in_order).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lens: &[usize]) -> TokenBatch {
        let texts: Vec<Vec<i64>> = lens.iter().map(|&len| (0..len as i64).collect()).collect();
        TokenBatch::from_sequences(texts.iter().map(|text| (&text[..], &text[..])))
    }

    fn lens(parts: Option<Vec<TokenBatch>>) -> Vec<Vec<usize>> {
        parts.into_iter().flatten().map(|part| part.seq_lens).collect()
    }

    #[test]
    fn parts_have_every_sequence_once_and_as_many_tokens_as_each_other() {
        let parts = lens(cut(&batch(&[130, 90, 210, 100, 150, 160]), 2));
        // The longest first, 210 | 160, 150 | 130 | 100, 90: each part in the order of the batch.
        assert_eq!(parts, [[130, 90, 210], [100, 150, 160]]);
        assert_eq!(parts.iter().flatten().sum::<usize>(), 840);
    }

    #[test]
    fn a_batch_that_cannot_be_halved_is_left_whole() {
        assert!(cut(&batch(&[500, 20]), 2).is_none());
        assert!(cut(&batch(&[500]), 4).is_none());
        assert!(cut(&batch(&[50, 50]), 1).is_none());
        // Two threads for each of two.
        assert_eq!(lens(cut(&batch(&[50, 50]), 4)), [[50], [50]]);
        // The second has nothing to learn.
        let mut half = batch(&[50, 50]);
        half.labels[50..].fill(nn_core::IGNORE_INDEX);
        assert!(cut(&half, 2).is_none());
    }
}
