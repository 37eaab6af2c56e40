//! Digests of what a run reads.

use std::collections::BTreeMap;
use std::path::Path;

use nn_core::Dataset;
use weights::Digest;

use crate::TrainError;

/// Name and digest of everything that a run reads, in hexadecimal digits.
pub(crate) type Inputs = BTreeMap<String, String>;

/// Computes the digest of a dataset: the number of its records, their order for one seed, and every token and label.
pub(crate) fn dataset_digest(dataset: &dyn Dataset) -> Digest {
    let bytes =
        |numbers: &mut dyn Iterator<Item = i64>| numbers.flat_map(i64::to_le_bytes).collect::<Vec<u8>>();
    let order = bytes(&mut dataset.epoch_order(0, 0).into_iter().map(|index| index as i64));
    let records = (0..dataset.len()).map(|index| {
        let batch = dataset.batch(&[index]);
        let length = batch.input_ids.len() as i64;
        bytes(&mut std::iter::once(length).chain(batch.input_ids).chain(batch.labels))
    });
    Digest::of_pieces(std::iter::once(order).chain(records))
}

/// Checks that what a run reads is what the run that wrote `checkpoint` read, in the order of `now`.
pub(crate) fn check_inputs(
    now: &[(String, Digest)],
    saved: &Inputs,
    checkpoint: &Path,
) -> Result<(), TrainError> {
    let differs = |(name, digest): &&(String, Digest)| saved.get(name) != Some(&digest.to_string());
    let differing = now.iter().find(differs);
    differing
        .map_or(Ok(()), |(name, digest)| Err(mismatch(checkpoint, name, Some(digest.to_string()), saved)))
}

/// Checks that a run reads all that the run that wrote `checkpoint` read.
pub(crate) fn check_none_gone(
    now: &[(String, Digest)],
    saved: &Inputs,
    checkpoint: &Path,
) -> Result<(), TrainError> {
    let gone = saved.keys().find(|name| !now.iter().any(|(known, _)| known == *name));
    gone.map_or(Ok(()), |name| Err(mismatch(checkpoint, name, None, saved)))
}

fn mismatch(checkpoint: &Path, input: &str, actual: Option<String>, saved: &Inputs) -> TrainError {
    let text = |digest: Option<String>| digest.unwrap_or_else(|| "absent".to_owned());
    let (actual, expected) = (text(actual), text(saved.get(input).cloned()));
    TrainError::InputMismatch { path: checkpoint.to_owned(), input: input.to_owned(), actual, expected }
}

#[cfg(test)]
mod tests {
    use nn_core::TokenBatch;

    use super::*;

    /// Records of two tokens each, with their labels, read backwards or not.
    #[derive(Clone)]
    struct Pairs(Vec<([i64; 2], [i64; 2])>, bool);

    impl Dataset for Pairs {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn epoch_order(&self, _epoch: u64, _seed: u64) -> Vec<usize> {
            if self.1 { (0..self.len()).rev().collect() } else { (0..self.len()).collect() }
        }

        fn batch(&self, indices: &[usize]) -> TokenBatch {
            let records: Vec<_> = indices.iter().map(|&index| self.0[index]).collect();
            TokenBatch {
                input_ids: records.iter().flat_map(|(ids, _)| *ids).collect(),
                labels: records.iter().flat_map(|(_, labels)| *labels).collect(),
                ..TokenBatch::default()
            }
        }
    }

    #[test]
    fn every_token_label_and_place_of_every_record_is_part_of_the_digest() {
        let records = Pairs((0..40).map(|index| ([index, 1], [-100, 1])).collect(), false);
        let digest = dataset_digest(&records);
        for index in 0..40 {
            let (mut ids, mut labels) = (records.clone(), records.clone());
            ids.0[index].0[1] = 2;
            labels.0[index].1[0] = 0;
            assert_ne!(dataset_digest(&ids), digest, "token of record {index}");
            assert_ne!(dataset_digest(&labels), digest, "label of record {index}");
        }
        assert_ne!(dataset_digest(&Pairs(records.0[..39].to_vec(), false)), digest);
        assert_ne!(dataset_digest(&Pairs(records.0, true)), digest);
    }
}
