//! Order is a function of the seed; every record is seen once an epoch.

use alpaca_data::{EpochOrder, Example, PadSide, batch, pad_batch, split};
use nn_core::IGNORE_INDEX;

fn is_permutation(order: &[usize]) -> bool {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    sorted.into_iter().eq(0..order.len())
}

#[test]
fn the_split_deals_every_record_once_and_repeats() {
    let parts = split(100, 10, 42).unwrap();
    assert_eq!(parts.validation.len(), 10);
    assert!(is_permutation(&[parts.train.as_slice(), &parts.validation].concat()));
    assert_eq!(parts, split(100, 10, 42).unwrap());
    assert_ne!(parts, split(100, 10, 43).unwrap());
    assert!(split(100, 0, 1).unwrap().validation.is_empty());
    let error = split(64, 2000, 1).unwrap_err().to_string();
    assert!(error.contains("2000") && error.contains("64"), "{error}");
}

#[test]
fn every_epoch_has_its_own_order_of_all_records() {
    let lengths: Vec<usize> = (0..1000).map(|i| i * 7919 % 250).collect();
    for group_by_length in [false, true] {
        let order = EpochOrder { seed: 1, group_by_length, batch_size: 8 };
        let (first, second) = (order.epoch(0, &lengths), order.epoch(1, &lengths));
        assert!(is_permutation(&first) && is_permutation(&second));
        assert_ne!(first, second);
        assert_eq!(first, order.epoch(0, &lengths));
    }
}

#[test]
fn the_shuffle_never_changes_between_versions() {
    // A run started with an older build is resumed with a newer one.
    let order = EpochOrder { seed: 42, group_by_length: false, batch_size: 1 };
    assert_eq!(order.epoch(0, &[0; 10]), [1, 7, 4, 3, 8, 5, 0, 9, 2, 6]);
}

#[test]
fn grouping_puts_similar_lengths_together_and_the_longest_first() {
    let lengths: Vec<usize> = (0..1000).map(|i| i * 7919 % 251).collect();
    let padding = |group_by_length| -> usize {
        let order = EpochOrder { seed: 3, group_by_length, batch_size: 8 }.epoch(0, &lengths);
        let batches = order.chunks(8).map(|batch| batch.iter().map(|&i| lengths[i]));
        batches.map(|lens| lens.clone().max().unwrap() * 8 - lens.sum::<usize>()).sum()
    };
    assert!(padding(true) * 5 < padding(false), "{} against {}", padding(true), padding(false));
    let order = EpochOrder { seed: 3, group_by_length: true, batch_size: 8 }.epoch(0, &lengths);
    assert_eq!(lengths[order[0]], *lengths.iter().max().unwrap());
}

#[test]
fn padding_can_be_taken_off_again() {
    let example = |ids: &[i64]| Example {
        input_ids: ids.to_vec(),
        labels: ids.iter().map(|&id| if id == 1 { IGNORE_INDEX } else { id }).collect(),
    };
    let examples: Vec<Example> =
        [vec![1, 5, 6], vec![1], (1..=9).collect()].iter().map(|ids| example(ids)).collect();
    for side in [PadSide::Left, PadSide::Right] {
        let padded = pad_batch(&examples, side, 8, 0);
        assert_eq!((padded.rows, padded.width), (3, 16));
        assert_eq!(padded.unpad(), batch(&examples, &[0, 1, 2]));
        assert_eq!(padded.labels.iter().filter(|&&label| label != IGNORE_INDEX).count(), 2 + 8);
    }
    assert_eq!(
        pad_batch(&examples, PadSide::Left, 8, 0).attention_mask[..16],
        [[0; 13].as_slice(), &[1; 3]].concat()
    );
}
