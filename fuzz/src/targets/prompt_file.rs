//! Files of prompts, and of the answers to the first of them.

use alpaca_data::IgnoredColumns;
use llama_finetune::PromptFile;

use crate::Target;
use crate::files::{directory, joined, parts};

pub(super) const TARGET: Target = Target {
    name: "prompt_file",
    reads: "prompts and answers (JSON Lines) of `generate --file`: `llama_finetune::PromptFile`",
    limit_s: 4,
    seeds: || {
        let prompts = b"{\"instruction\": \"a\", \"input\": \"b\"}\n{\"prompt\": \"c\"}\n";
        let answers = b"{\"index\": 0, \"instruction\": \"a\", \"input\": \"b\", \"response\": \"x\", \"finish\": \"stop\", \"prompt_tokens\": \
                        3, \"completion_tokens\": 1, \"first_token_s\": 0.1, \"seconds\": 0.2}\n{\"index\": 1";
        vec![prompts.to_vec(), joined(&[prompts, answers])]
    },
    run: |bytes| {
        let dir = directory("prompts", &parts(bytes, ["prompts.jsonl", "answers.jsonl"]));
        PromptFile::open(&dir.join("prompts.jsonl"), &dir.join("answers.jsonl"), &IgnoredColumns::None)?;
        Ok(())
    },
};
