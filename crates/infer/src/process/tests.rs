//! Score processing equals transformers', bit for bit (`tests/goldens/make.py`).
//!
//! Among tokens that tie at the cut of top-p, transformers keeps any, since its sort is not stable: only their number is
//! compared.
#![allow(clippy::float_cmp, reason = "the same operations give the same bits")]

use super::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    kind: String,
    scores: Vec<f32>,
    text: Vec<i64>,
    results: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    settings: Settings,
    kept: Vec<(usize, f32)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    repetition_penalty: Option<f64>,
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    keep: Option<usize>,
}

fn kept(scores: &[f32]) -> Vec<(usize, f32)> {
    scores.iter().copied().enumerate().filter(|&(_, score)| score != f32::NEG_INFINITY).collect()
}

#[test]
fn every_processor_and_their_chain_equal_transformers() {
    let goldens = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/processors.json");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(goldens).unwrap()).unwrap();
    assert_eq!(cases.len(), 4);
    for Case { kind, scores, text, results } in cases {
        for Expected { settings, kept: expected } in results {
            let sampling = SamplingConfig {
                do_sample: true,
                temperature: settings.temperature.unwrap_or(1.0),
                top_k: settings.top_k.unwrap_or(0),
                top_p: settings.top_p.unwrap_or(1.0),
                min_p: settings.min_p.unwrap_or(0.0),
                repetition_penalty: settings.repetition_penalty.unwrap_or(1.0),
                ..SamplingConfig::default()
            };
            let mut actual = scores.clone();
            process_scores(&mut actual, &text, &sampling, settings.keep.unwrap_or(1));
            let actual = kept(&actual);
            if settings.top_p.is_some() {
                let lowest = expected.iter().map(|&(_, score)| score).fold(f32::INFINITY, f32::min);
                let above = |kept: &[(usize, f32)]| {
                    kept.iter().copied().filter(|&(_, score)| score > lowest).collect::<Vec<_>>()
                };
                assert_eq!(above(&actual), above(&expected), "{kind}: {settings:?}");
                assert!(actual.iter().all(|&(_, score)| score >= lowest), "{kind}: {settings:?}");
                assert_eq!(actual.len(), expected.len(), "{kind}: {settings:?}");
            } else {
                assert_eq!(actual, expected, "{kind}: {settings:?}");
            }
        }
    }
}

#[test]
fn without_sampling_only_the_repetition_penalty_counts() {
    let sampling = SamplingConfig {
        temperature: 0.1,
        top_k: 1,
        top_p: 0.1,
        min_p: 0.9,
        repetition_penalty: 2.0,
        ..SamplingConfig::default()
    };
    let mut scores = [1.0, -1.0, 3.0, 0.5];
    process_scores(&mut scores, &[0, 1, 0, 1, 7, -1], &sampling, 1);
    assert_eq!(scores, [0.5, -2.0, 3.0, 0.5]);
}

#[test]
fn ties_with_the_last_of_the_top_k_stay() {
    let mut scores = [2.0, 1.0, 3.0, 2.0, 2.0];
    top_k(&mut scores, 2, 1);
    assert_eq!(kept(&scores), [(0, 2.0), (2, 3.0), (3, 2.0), (4, 2.0)]);
}

#[test]
fn the_best_tokens_stay_whatever_the_bounds() {
    let scores = [0.0, 40.0, 1.0, 2.0];
    for keep in 1..=4 {
        for cut in [|s: &mut [f32], keep| top_p(s, 1e-9, keep), |s: &mut [f32], keep| min_p(s, 1.0, keep)] {
            let mut scores = scores;
            cut(&mut scores, keep);
            let kept: Vec<usize> = kept(&scores).into_iter().map(|(index, _)| index).collect();
            let mut expected = vec![1, 3, 2, 0];
            expected.truncate(keep);
            expected.sort_unstable();
            assert_eq!(kept, expected);
        }
    }
}
