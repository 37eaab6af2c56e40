//! A request gets in company what it gets alone.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::common::{Numbers, family, shown, ways};
use infer::{
    BatchEvent, Batcher, FinishReason, GenerateConfig, Generation, Request, RequestId, SamplingConfig,
    generate_streaming,
};
use llama_model::Llama;

fn prompts() -> Vec<Vec<i64>> {
    vec![
        vec![1, 5, 9, 30, 7, 7, 41],
        vec![1, 44],
        vec![1, 3, 3, 12, 19, 40, 22, 8, 33, 6, 25],
        vec![1, 44],
        vec![1],
    ]
}

fn config(sampling: SamplingConfig) -> GenerateConfig {
    GenerateConfig {
        max_new_tokens: 30,
        eos_ids: vec![2, 17],
        stop: vec!["31 6".to_owned()],
        sampling,
        ..GenerateConfig::default()
    }
}

fn alone(model: &Llama, prompt: &[i64], config: &GenerateConfig) -> Generation {
    shown(model, &Numbers, &[prompt.to_vec()], config).0.remove(0)
}

#[test]
fn a_prompt_gets_the_same_answer_in_a_batch_and_alone() {
    for name in ["llama1", "llama3", "biased"] {
        let model = family(name);
        for sampling in ways(3) {
            let config = config(sampling);
            let (together, shown) = shown(&model, &Numbers, &prompts(), &config);
            for ((answer, shown), prompt) in together.iter().zip(&shown).zip(prompts()) {
                assert_eq!(*answer, alone(&model, &prompt, &config), "{name}: {config:?}");
                assert_eq!(answer.text, *shown);
            }
        }
    }
}

#[test]
fn another_seed_samples_another_text() {
    let model = family("llama3");
    let draw = |seed| alone(&model, &[1, 5], &config(ways(seed)[3].clone()));
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1).ids, draw(2).ids);
}

/// Numbers without meaning, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = nn_core::mix_seed(self.0, 1);
        (self.0 >> 33) as usize % sides
    }
}

#[test]
fn requests_that_join_leave_and_are_cancelled_change_no_other() {
    let model = family("llama3");
    let mut dice = Dice(5);
    let mut batcher = Batcher::new(&model, &Numbers, 7, 48).unwrap();
    let mut requests: BTreeMap<RequestId, Request> = BTreeMap::new();
    let mut texts: BTreeMap<RequestId, String> = BTreeMap::new();
    let (mut finished, mut cancelled, mut left) = (0, 0, 60);
    while left > 0 || !batcher.is_idle() {
        if left > 0 && dice.roll(3) > 0 {
            let mut config = config(ways(left)[dice.roll(6)].clone());
            config.max_new_tokens = dice.roll(31);
            let request = Request { prompt: prompts()[dice.roll(5)].clone(), config };
            let needed = request.config.sampling.num_beams;
            match batcher.add(request.clone()) {
                Ok(id) => {
                    requests.insert(id, request);
                    left -= 1;
                }
                Err(_) => assert!(needed > batcher.free_rows()),
            }
        }
        if dice.roll(12) == 0
            && let Some((&id, request)) = requests.iter().nth(dice.roll(requests.len().max(1)))
        {
            let answer = batcher.cancel(id).unwrap();
            let whole = alone(&model, &request.prompt, &request.config);
            assert_eq!(answer.finish, FinishReason::Cancelled);
            if request.config.sampling.num_beams == 1 {
                assert!(whole.ids.starts_with(&answer.ids));
            }
            assert!(batcher.cancel(id).is_none());
            requests.remove(&id);
            cancelled += 1;
        }
        for event in batcher.step() {
            match event {
                BatchEvent::Token { id, text, .. } => texts.entry(id).or_default().push_str(&text),
                BatchEvent::Finished { id, generation } => {
                    let request = requests.remove(&id).unwrap();
                    assert_eq!(generation, alone(&model, &request.prompt, &request.config), "{request:?}");
                    assert_eq!(texts.remove(&id).unwrap_or_default(), generation.text);
                    finished += 1;
                }
                BatchEvent::Failed { id, error } => panic!("{id}: {error}"),
            }
        }
        let held: usize = requests.values().map(|request| request.config.sampling.num_beams).sum();
        assert_eq!(batcher.free_rows(), 7 - held);
    }
    assert!(finished > 30 && cancelled > 3, "{finished} finished, {cancelled} cancelled");
}

#[test]
fn a_cancelled_generation_returns_the_text_so_far() {
    let model = family("llama1");
    let config = config(SamplingConfig::default());
    let whole = shown(&model, &Numbers, &prompts(), &config).0;
    let mut pieces = 0;
    let answers = generate_streaming(&model, &Numbers, &prompts(), &config, &mut |_, _| {
        pieces += 1;
        if pieces == 12 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!(pieces, 12);
    assert!(answers.iter().any(|answer| answer.finish == FinishReason::Cancelled));
    for (answer, whole) in answers.iter().zip(&whole) {
        assert!(whole.ids.starts_with(&answer.ids) && whole.text.starts_with(&answer.text));
        assert!(answer.ids.len() < 5);
    }
}

#[test]
fn prompts_and_settings_that_do_not_fit_are_rejected_by_name() {
    let model = family("llama1");
    let mut batcher = Batcher::new(&model, &Numbers, 2, 8).unwrap();
    let mut refused = |prompt: Vec<i64>, sampling: SamplingConfig| {
        batcher.add(Request { prompt, config: config(sampling) }).unwrap_err().to_string()
    };
    let plain = SamplingConfig::default;
    assert_eq!(
        refused(vec![1; 8], plain()),
        "the prompt has 8 tokens; with at least one of an answer, 8 have room"
    );
    assert_eq!(refused(vec![1, 48], plain()), "token id 48 is outside the vocabulary of 48");
    assert_eq!(
        refused(vec![1], SamplingConfig { num_beams: 3, ..plain() }),
        "the request needs 3 rows; 2 of 2 are free"
    );
    assert_eq!(
        refused(vec![1], SamplingConfig { temperature: 0.0, ..plain() }),
        "`temperature` is 0; it has to be above 0"
    );
    assert!(refused(vec![], plain()).contains("no tokens"));
    // The room of a row ends an answer before its limit.
    let id = batcher.add(Request { prompt: vec![1, 5], config: GenerateConfig::default() }).unwrap();
    let mut last = None;
    while !batcher.is_idle() {
        last = batcher.step().pop();
    }
    match last {
        Some(BatchEvent::Finished { id: finished, generation }) => {
            assert_eq!((finished, generation.ids.len(), generation.finish), (id, 6, FinishReason::Length));
        }
        other => panic!("{other:?}"),
    }
}
