//! Decoding with the cache gives what the whole text gives, whatever is done to the rows.

use crate::common::{MODELS, logits, max_difference, stored};
use llama_model::Llama;
use nn_core::{CausalLm, DecodeSession};
use tch::Tensor;

/// The same sums in another order, in float32, of logits up to about 10.
const SAME: f64 = 2e-5;

fn prompts() -> [Vec<i64>; 3] {
    [vec![1, 5, 9, 30, 7], vec![1, 44], vec![1, 3, 3]]
}

/// Next-token logits of a text without a cache, `[V]`.
fn whole(model: &Llama, text: &Vec<i64>) -> Tensor {
    let all = logits(model, std::slice::from_ref(text));
    all.get(all.size()[0] - 1)
}

fn assert_rows(name: &str, model: &Llama, actual: &Tensor, texts: &[&Vec<i64>]) {
    assert_eq!(actual.size(), [texts.len() as i64, 48]);
    for (row, text) in texts.iter().enumerate() {
        let difference = max_difference(&actual.get(row as i64), &whole(model, text));
        assert!(difference < SAME, "{name}, row {row} {text:?}: {difference}");
    }
}

fn prefill(session: &mut dyn DecodeSession, texts: &[Vec<i64>]) -> Tensor {
    let prompts: Vec<(usize, &[i64])> = texts.iter().map(Vec::as_slice).enumerate().collect();
    session.prefill(&prompts).unwrap()
}

#[test]
fn decoding_step_by_step_gives_the_logits_of_the_whole_text() {
    let next = [[7, 12, 13], [41, 3, 3], [9, 9, 40], [20, 8, 5]];
    let even = [vec![1, 5, 9], vec![1, 44, 2], vec![1, 3, 3]];
    for (name, mut texts) in MODELS.into_iter().flat_map(|name| [(name, prompts()), (name, even.clone())]) {
        let model = stored(name);
        let longest = texts.iter().map(Vec::len).max().unwrap();
        let mut session = model.open(3, longest + next.len()).unwrap();
        let mut actual = prefill(&mut *session, &texts);
        for tokens in next {
            assert_rows(name, &model, &actual, &texts.each_ref());
            actual = session.step(&[0, 1, 2].map(|row| (row, tokens[row]))).unwrap();
            texts.iter_mut().zip(tokens).for_each(|(text, token)| text.push(token));
        }
        assert_rows(name, &model, &actual, &texts.each_ref());
        let error = session.step(&[(0, 1)]).unwrap_err().to_string();
        let room = longest + next.len();
        assert_eq!(error, format!("row 0 would hold {} tokens; it has room for 1 to {room}", room + 1));
    }
}

#[test]
fn any_rows_in_any_order_may_go_on_while_others_wait() {
    for name in MODELS {
        let model = stored(name);
        let mut texts = prompts();
        let mut session = model.open(4, 12).unwrap();
        let _ = prefill(&mut *session, &texts);
        for rows in [vec![2, 0], vec![1], vec![0, 1, 2], vec![1, 2], vec![0], vec![0, 1]] {
            let tokens: Vec<(usize, i64)> = rows.iter().map(|&row| (row, 20 + row as i64)).collect();
            let actual = session.step(&tokens).unwrap();
            for &(row, token) in &tokens {
                texts[row].push(token);
            }
            let named: Vec<&Vec<i64>> = rows.iter().map(|&row| &texts[row]).collect();
            assert_rows(name, &model, &actual, &named);
            assert!(rows.iter().all(|&row| session.len(row) == texts[row].len()));
        }
    }
}

#[test]
fn rows_are_selected_moved_and_used_again() {
    for name in MODELS {
        let model = stored(name);
        let texts = prompts();
        let mut session = model.open(4, 12).unwrap();
        let _ = prefill(&mut *session, &texts);
        let step = |session: &mut dyn DecodeSession, texts: &mut [Vec<i64>], token: i64| {
            let tokens: Vec<(usize, i64)> = (0..texts.len()).map(|row| (row, token + row as i64)).collect();
            let actual = session.step(&tokens).unwrap();
            texts.iter_mut().zip(&tokens).for_each(|(text, &(_, token))| text.push(token));
            assert_rows(name, &model, &actual, &texts.iter().collect::<Vec<_>>());
        };
        // A cycle: every row is both source and target.
        session.select(&[1, 2, 0]).unwrap();
        let mut texts = vec![texts[1].clone(), texts[2].clone(), texts[0].clone()];
        step(&mut *session, &mut texts, 9);
        // One parent for all; the fourth row is filled from an old one.
        session.select(&[2, 2, 2, 0]).unwrap();
        texts = vec![texts[2].clone(), texts[2].clone(), texts[2].clone(), texts[0].clone()];
        step(&mut *session, &mut texts, 30);
        // A beam that shares all but its last tokens.
        session.select(&[1, 1]).unwrap();
        texts[0] = texts[1].clone();
        step(&mut *session, &mut texts, 3);
        session.move_row(3, 1).unwrap();
        texts.swap_remove(1);
        assert_eq!(session.len(3), 0);
        step(&mut *session, &mut texts, 17);
        // A row starts anew beside others that go on.
        texts[1] = vec![1, 8, 40, 2];
        let actual = session.prefill(&[(1, &texts[1])]).unwrap();
        assert_rows(name, &model, &actual, &[&texts[1]]);
        step(&mut *session, &mut texts, 25);
    }
}

#[test]
fn a_misuse_of_rows_is_named_and_changes_nothing() {
    let model = stored("llama3");
    let mut texts = prompts();
    let mut session = model.open(4, 6).unwrap();
    let _ = prefill(&mut *session, &texts);
    let refused = |result: Result<Tensor, nn_core::NnError>, expected: &str| {
        assert_eq!(result.unwrap_err().to_string(), expected);
    };
    refused(session.step(&[(4, 1)]), "no row 4 for this use in a session of 4 rows");
    refused(session.step(&[(1, 1), (1, 1)]), "no row 1 for this use in a session of 4 rows");
    refused(session.step(&[(3, 1)]), "row 3 would hold 0 tokens; it has room for 1 to 6");
    refused(session.step(&[(0, 48)]), "token id 48 is outside the vocabulary of 48");
    refused(session.prefill(&[(0, &[])]), "row 0 would hold 0 tokens; it has room for 1 to 6");
    refused(session.prefill(&[(2, &[1; 7])]), "row 2 would hold 7 tokens; it has room for 1 to 6");
    refused(session.prefill(&[(0, &[1]), (1, &[-1])]), "token id -1 is outside the vocabulary of 48");
    assert!(session.select(&[0, 4]).is_err() && session.select(&[0; 5]).is_err());
    assert!(session.move_row(0, 4).is_err() && session.move_row(7, 0).is_err());
    let actual = session.step(&[(0, 9), (1, 9), (2, 9)]).unwrap();
    for text in &mut texts {
        text.push(9);
    }
    assert_rows("llama3", &model, &actual, &texts.each_ref());
}
