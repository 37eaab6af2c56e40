//! Steps of fixed shape, and steps that a GPU repeats, are the ordinary ones.

use super::*;
use crate::fixed_step::{FixedStep, span};
use crate::{FAMILIES, LlamaConfig, RandomSource};
use nn_core::{LinearSource, TokenBatch};
use tch::Device;

/// The same sums in another order, in float32, of logits of about one.
const SAME: f64 = 1e-5;
const PROMPTS: [&[i64]; 3] = [&[1, 5, 9, 30, 7], &[1, 44], &[1, 3, 3]];

/// The same numbers on any device; norms and biases are random too.
struct On(RandomSource, Device);

impl LinearSource for On {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        let tensor = if shape.len() == 1 {
            self.0.tensor(&format!("{name}.numbers"), shape)? + 1.0
        } else {
            self.0.tensor(name, shape)?
        };
        Ok(tensor.f_to(self.1).op("to")?)
    }
}

/// Makes a model of each family.
fn models(device: Device) -> impl Iterator<Item = Llama> {
    FAMILIES.iter().map(move |family| {
        let text = format!(
            r#"{{"model_type": "{}", "vocab_size": 48, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": null}}"#,
            family.model_type
        );
        let config = LlamaConfig::from_json(&text).unwrap();
        let source = RandomSource { seed: 3, std: 0.3, device: Device::Cpu, kind: Kind::Float };
        Llama::load(&config, &On(source, device)).unwrap()
    })
}

fn open(model: &Llama, rows: usize, capacity: usize) -> Session<'_> {
    let mut session = Session::open(model, rows, capacity).unwrap();
    let prompts: Vec<(usize, &[i64])> = PROMPTS[..rows].iter().copied().enumerate().collect();
    let _ = session.prefill(&prompts).unwrap();
    session
}

fn off(a: &Tensor, b: &Tensor) -> f64 {
    (a.to(Device::Cpu) - b.to(Device::Cpu)).abs().max().double_value(&[])
}

#[test]
fn logits_of_all_positions_are_those_of_training() {
    let prompt = PROMPTS[0];
    for model in models(Device::Cpu) {
        let batch = TokenBatch::from_sequences([(prompt, prompt)]);
        let hidden = tch::no_grad(|| model.hidden_states(&batch, Mode::Eval)).unwrap();
        let expected = tch::no_grad(|| model.logits(&hidden)).unwrap(); // [T, V]
        for positions in [1, 2, 64] {
            let mut session = Session::open(&model, 2, 40).unwrap();
            let mut parts = Vec::new();
            let last = session.prefill_all(1, prompt, positions, &mut |logits| {
                assert!(logits.size()[0] <= positions as i64);
                parts.push(logits.shallow_clone());
                Ok(())
            });
            let all = Tensor::cat(&parts, 0);
            assert_eq!(all.size(), expected.size());
            assert!(off(&all, &expected) < SAME);
            assert!(off(&last.unwrap(), &expected.narrow(0, prompt.len() as i64 - 1, 1)) < SAME);
            // The row goes on as after an ordinary prefill.
            let mut ordinary = Session::open(&model, 2, 40).unwrap();
            let _ = ordinary.prefill(&[(1, prompt)]).unwrap();
            assert!(off(&session.step(&[(1, 4)]).unwrap(), &ordinary.step(&[(1, 4)]).unwrap()) < SAME);
        }
    }
}

#[test]
fn a_step_of_fixed_shape_is_the_ordinary_step() {
    for model in models(Device::Cpu) {
        for (rows, capacity) in [(1, 40), (3, 40), (3, 300), (2, 258)] {
            assert_fixed_steps_are_ordinary(&model, rows, capacity);
        }
    }
}

fn assert_fixed_steps_are_ordinary(model: &Llama, rows: usize, capacity: usize) {
    let (mut ordinary, mut fixed) = (open(model, rows, capacity), open(model, rows, capacity));
    let mut step = FixedStep::new(model, rows, span(20, capacity)).unwrap();
    for turn in 0..12 {
        let tokens: Vec<(usize, i64)> =
            (0..rows).map(|row| (row, (turn * 7 + row as i64 * 5) % 48)).collect();
        let expected = ordinary.step(&tokens).unwrap();
        let ids: Vec<i64> = tokens.iter().map(|&(_, id)| id).collect();
        let positions: Vec<i64> = (0..rows).map(|row| fixed.len(row) as i64).collect();
        step.set(&ids, &positions).unwrap();
        // Twice is as if once: a recording runs it so.
        for _ in 0..2 {
            let actual =
                tch::no_grad(|| step.logits(model, &mut fixed.caches, fixed.rotation.on(Device::Cpu)))
                    .unwrap();
            assert!(off(&actual, &expected) < SAME, "{rows} {turn}: {}", off(&actual, &expected));
        }
        for &(row, id) in &tokens {
            fixed.rows[row].push(id);
        }
    }
}

#[test]
fn on_a_gpu_recorded_steps_decode_as_a_cpu_does() {
    if !torch_ext::cuda::is_available() {
        eprintln!("skipped: on_a_gpu_recorded_steps_decode_as_a_cpu_does needs a CUDA device");
        return;
    }
    for (cpu, gpu) in models(Device::Cpu).zip(models(Device::Cuda(0))) {
        assert_recorded_steps_are_ordinary(&cpu, &gpu);
    }
}

fn assert_recorded_steps_are_ordinary(cpu: &Llama, gpu: &Llama) {
    let (mut expected, mut actual) = (open(cpu, 3, 300), open(gpu, 3, 300));
    // Past the end of the first span, with all rows and with two.
    for turn in 0..280 {
        let rows = if turn % 3 == 0 { 2 } else { 3 };
        let tokens: Vec<(usize, i64)> =
            (0..rows).map(|row| (row, (turn * 7 + row as i64 * 5) % 48)).collect();
        let (a, b) = (actual.step(&tokens).unwrap(), expected.step(&tokens).unwrap());
        assert!(off(&a, &b) < 1e-3, "{turn}: {}", off(&a, &b));
    }
    assert!(actual.graphs.is_some_and(|graphs| graphs.recorded() >= 3));
}
