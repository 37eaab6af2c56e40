//! Order is a function of the seed; every record is seen once an epoch.

use alpaca_data::{Example, GroupedByLength, split};
use nn_core::{Dataset, TokenBatch};

fn examples(lengths: &[usize]) -> Vec<Example> {
    let example = |(id, &len): (usize, &usize)| Example {
        input_ids: vec![id as i64; len],
        labels: vec![id as i64; len],
    };
    lengths.iter().enumerate().map(example).collect()
}

fn grouped(lengths: &[usize]) -> GroupedByLength {
    GroupedByLength { examples: examples(lengths), batch_size: 8 }
}

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
    let (plain, grouped) = (examples(&lengths), grouped(&lengths));
    for dataset in [&plain as &dyn Dataset, &grouped] {
        let (first, second) = (dataset.epoch_order(0, 1), dataset.epoch_order(1, 1));
        assert!(is_permutation(&first) && is_permutation(&second));
        assert_ne!(first, second);
        assert_eq!(first, dataset.epoch_order(0, 1));
        assert_ne!(first, dataset.epoch_order(0, 2));
    }
}

#[test]
fn the_shuffle_never_changes_between_versions() {
    // A run started with an older build is resumed with a newer one.
    assert_eq!(examples(&[0; 10]).epoch_order(0, 42), [1, 7, 4, 3, 8, 5, 0, 9, 2, 6]);
}

#[test]
fn grouping_puts_similar_lengths_together_and_the_longest_first() {
    let lengths: Vec<usize> = (0..1000).map(|i| i * 7919 % 251).collect();
    let (plain, grouped) = (examples(&lengths), grouped(&lengths));
    let padding = |dataset: &dyn Dataset| -> usize {
        let order = dataset.epoch_order(0, 3);
        let batches = order.chunks(8).map(|batch| batch.iter().map(|&i| lengths[i]));
        batches.map(|lens| lens.clone().max().unwrap() * 8 - lens.sum::<usize>()).sum()
    };
    assert!(padding(&grouped) * 5 < padding(&plain), "{} against {}", padding(&grouped), padding(&plain));
    assert_eq!(lengths[grouped.epoch_order(0, 3)[0]], *lengths.iter().max().unwrap());
}

#[test]
fn a_batch_is_its_examples_one_after_another() {
    let batch = examples(&[2, 1, 3]).batch(&[2, 0]);
    let expected =
        TokenBatch { input_ids: vec![2, 2, 2, 0, 0], labels: vec![2, 2, 2, 0, 0], seq_lens: vec![3, 2] };
    assert_eq!(batch, expected);
}
