//! Help texts: what `-h` shows, and examples.

use clap::{Command, Parser};

use crate::messages;
use crate::ranges::bounded;

/// Help of a program beside its flags: those that `-h` lists, and examples.
#[derive(Debug)]
pub struct Guide {
    /// Name of the program.
    pub program: &'static str,
    /// Flags that `-h` lists; `--help` lists all.
    pub short: &'static [&'static str],
    /// Headings of flags, and a command line that uses some of each; the first is how to begin.
    pub examples: &'static [(&'static str, &'static str)],
}

/// The guide of every program.
pub const GUIDES: &[Guide] = &[
    Guide {
        program: "finetune",
        short: &[
            "base_model",
            "data_path",
            "output_dir",
            "batch_size",
            "micro_batch_size",
            "num_epochs",
            "learning_rate",
            "cutoff_len",
            "val_set_size",
            "lora_r",
            "quantize",
            "resume_from_checkpoint",
            "plan",
            "web",
        ],
        examples: &[
            (
                "Model and data",
                "finetune --base_model ./llama-7b --data_path ./data.json --output_dir ./lora-alpaca",
            ),
            ("Training", "finetune --config run.toml --num_epochs 1 --learning_rate 1e-4 --warmup_steps 10"),
            ("Adapter", "finetune --config run.toml --lora_r 16 --lora_target_modules all-linear"),
            ("Evaluation and checkpoints", "finetune --config run.toml --val_set_size 100 --eval_steps 50"),
            ("Run", "finetune --config run.toml --plan"),
            ("Live page", "finetune --config run.toml --web"),
            ("Machine", "finetune --config run.toml --device cuda --dtype bfloat16"),
            ("Messages", "finetune --config run.toml -q"),
        ],
    },
    Guide {
        program: "generate",
        short: &[
            "base_model",
            "lora_weights",
            "compare",
            "instruction",
            "interactive",
            "file",
            "out",
            "temperature",
            "max_new_tokens",
            "server_port",
            "quantize",
        ],
        examples: &[
            ("Model", "generate --base_model ./llama-7b --lora_weights ./lora-alpaca"),
            (
                "Instead of the server",
                "generate --lora_weights ./lora-alpaca --instruction 'Name three colours.'",
            ),
            (
                "Answers",
                "generate --lora_weights ./lora-alpaca --interactive --temperature 0 --max_new_tokens 64",
            ),
            ("Server", "generate --base_model ./llama-7b --server_name 0.0.0.0 --api_key SECRET"),
            ("Machine", "generate --base_model ./llama-7b --device cuda --quantize nf4"),
            ("Messages", "generate --lora_weights ./lora-alpaca --prompt 'Once upon a time' -q"),
        ],
    },
    Guide {
        program: "merge",
        short: &["base_model", "lora_weights", "output_dir", "format", "dtype", "adapter", "verify"],
        examples: &[
            ("Model", "merge --base_model ./llama-7b --lora_weights ./lora-alpaca --output_dir ./merged"),
            ("Several adapters", "merge --adapter ./one:0.7 --adapter ./two:0.3 --output_dir ./merged"),
            ("Proof", "merge --lora_weights ./lora-alpaca --output_dir ./merged --verify"),
            ("Quantised bases", "merge --lora_weights ./lora-alpaca --output_dir ./merged --quantize nf4"),
            ("Machine", "merge --lora_weights ./lora-alpaca --output_dir ./merged --threads 4"),
            ("Messages", "merge --lora_weights ./lora-alpaca --output_dir ./merged -q"),
        ],
    },
    Guide {
        program: "unmerge",
        short: &["base_model", "merged_model", "output_dir", "lora_r"],
        examples: &[
            ("Model", "unmerge --base_model ./llama-7b --merged_model ./merged --output_dir ./adapter"),
            (
                "Machine",
                "unmerge --base_model ./a --merged_model ./b --output_dir ./c --ignore_unknown_settings",
            ),
            ("Messages", "unmerge --base_model ./a --merged_model ./b --output_dir ./c -v"),
        ],
    },
    Guide {
        program: "evaluate",
        short: &["base_model", "lora_weights", "data_path", "max_new_tokens", "perplexity", "json"],
        examples: &[
            ("Model", "evaluate --lora_weights ./lora-alpaca --data_path ./test.json --perplexity"),
            ("Machine", "evaluate --lora_weights ./lora-alpaca --data_path ./test.json --quantize nf4"),
            ("Messages", "evaluate --lora_weights ./lora-alpaca --data_path ./test.json -q"),
        ],
    },
    Guide {
        program: "compare",
        short: &["reference_model", "reference_lora", "base_model", "lora_weights", "data_path", "json"],
        examples: &[
            ("Model", "compare --reference_lora ./lora-alpaca --base_model ./merged --data_path ./test.json"),
            (
                "Machine",
                "compare --reference_model ./a --base_model ./b --data_path ./test.json --dtype bfloat16",
            ),
            ("Messages", "compare --reference_model ./a --base_model ./b --data_path ./test.json -q"),
        ],
    },
    Guide {
        program: "pretrain",
        short: &["config", "preset", "corpus", "tokenizer", "output_dir"],
        examples: &[
            (
                "Model",
                "pretrain --config pretrain.toml --corpus text.txt --tokenizer ./tokenizer --output_dir ./model",
            ),
            (
                "Messages",
                "pretrain --preset tiny --init_only --tokenizer ./tokenizer --output_dir ./model -q",
            ),
        ],
    },
    Guide {
        program: "runs",
        short: &["dirs", "html", "json"],
        examples: &[
            ("Runs", "runs ./lora-a ./lora-b --html runs.html"),
            ("Messages", "runs ./lora-a ./lora-b --json -q"),
        ],
    },
];

/// Returns the whole command of a program: its flags with their ranges, those about messages, and its guide.
pub fn command<Args: Parser>() -> Command {
    command_after::<Args>("")
}

/// Returns the same for a program that is called with `prefix` before its name, which stands in the examples too.
pub(crate) fn command_after<Args: Parser>(prefix: &str) -> Command {
    let command = messages::with_flags(bounded(Args::command())).arg_required_else_help(true);
    let Some(guide) = GUIDES.iter().find(|guide| guide.program == command.get_name()) else { return command };
    let line = |(heading, example): &(&str, &str)| format!("  {heading}:\n    {prefix}{example}\n");
    let first = guide
        .examples
        .first()
        .map_or_else(String::new, |(_, example)| format!("Example:\n  {prefix}{example}"));
    let all: String = guide.examples.iter().map(line).collect();
    command
        .mut_args(|arg| {
            let shown = guide.short.contains(&arg.get_id().as_str());
            arg.hide_short_help(!shown)
        })
        .after_help(format!("{first}\n\n--help lists every flag, with examples."))
        .after_long_help(format!("Examples:\n{all}"))
}
