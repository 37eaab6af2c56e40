//! Answers to records, scored against their reference answers.

use std::collections::BTreeMap;

use alpaca_data::{PromptTemplate, Record};
use infer::{GenerateConfig, greedy};
use llama_tokenizer::LlamaTokenizer;
use nn_core::CausalLm;
use serde::Serialize;

use crate::{FinetuneError, exact_match, rouge_l};

/// Answers that equal their references, of how many.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Score {
    /// Answers that equal the reference.
    pub correct: usize,
    /// Answers.
    pub total: usize,
}

impl Score {
    /// Counts one more answer.
    fn add(&mut self, is_correct: bool) {
        self.correct += usize::from(is_correct);
        self.total += 1;
    }

    /// Returns the fraction of correct answers, 0 where there are none.
    pub fn fraction(self) -> f64 {
        self.correct as f64 / self.total.max(1) as f64
    }
}

/// One record with its answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// The record's instruction.
    pub instruction: String,
    /// The record's input.
    pub input: String,
    /// The reference answer.
    pub expected: String,
    /// The model's answer.
    pub answer: String,
    /// The record's kind of task.
    pub kind: String,
    /// ROUGE-L of the answer, 0 to 1.
    pub rouge_l: f64,
}

/// The scores of a model on records.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Exact matches over all records.
    pub exact_match: Score,
    /// Mean ROUGE-L over all records, 0 to 1.
    pub rouge_l: f64,
    /// Exact matches by kind of task.
    pub kinds: BTreeMap<String, Score>,
    /// Every record with its answer, in order.
    pub samples: Vec<Sample>,
}

/// Answers records greedily, `batch_size` at a time, and scores the answers. `kinds` holds the kind of task of each record;
/// where it has none, the kind is `all`.
///
/// # Errors
/// [`FinetuneError`] when a prompt cannot be tokenised or the model fails.
pub fn evaluate(
    model: &dyn CausalLm,
    tokenizer: &LlamaTokenizer,
    template: &PromptTemplate,
    records: &[Record],
    kinds: &[Option<String>],
    config: &GenerateConfig,
    batch_size: usize,
) -> Result<Evaluation, FinetuneError> {
    let answers = answer(model, tokenizer, template, records, config, batch_size)?;
    let mut evaluation = Evaluation {
        exact_match: Score::default(),
        rouge_l: 0.0,
        kinds: BTreeMap::new(),
        samples: Vec::with_capacity(records.len()),
    };
    for (index, (record, answer)) in records.iter().zip(&answers).enumerate() {
        let kind = kinds.get(index).and_then(Option::as_deref).unwrap_or("all");
        let is_correct = exact_match(&record.output, answer);
        evaluation.exact_match.add(is_correct);
        evaluation.kinds.entry(kind.to_owned()).or_default().add(is_correct);
        evaluation.samples.push(Sample {
            instruction: record.instruction.clone(),
            input: record.input.clone(),
            expected: record.output.clone(),
            answer: answer.trim().to_owned(),
            kind: kind.to_owned(),
            rouge_l: rouge_l(&record.output, answer),
        });
    }
    let sum: f64 = evaluation.samples.iter().map(|sample| sample.rouge_l).sum();
    evaluation.rouge_l = sum / records.len().max(1) as f64;
    Ok(evaluation)
}

/// Answers every record, those of similar length together.
fn answer(
    model: &dyn CausalLm,
    tokenizer: &LlamaTokenizer,
    template: &PromptTemplate,
    records: &[Record],
    config: &GenerateConfig,
    batch_size: usize,
) -> Result<Vec<String>, FinetuneError> {
    let prompts = records
        .iter()
        .map(|record| tokenizer.encode(&template.prompt(&record.instruction, Some(&record.input)), true))
        .collect::<Result<Vec<_>, _>>()?;
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|&index| prompts[index].len());
    let mut answers = vec![String::new(); records.len()];
    for indices in order.chunks(batch_size.max(1)) {
        let batch: Vec<Vec<i64>> = indices.iter().map(|&index| prompts[index].clone()).collect();
        for (&index, ids) in indices.iter().zip(greedy(model, &batch, config)?) {
            answers[index] = tokenizer.decode(&ids, true)?;
        }
    }
    Ok(answers)
}
