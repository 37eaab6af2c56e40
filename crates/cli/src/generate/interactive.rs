//! Instructions as they are typed.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Result;
use infer::GenerateConfig;
use llama_finetune::Prompt;
use terminal::{Interrupt, print_result, say};

use super::once::{answer, figures, tokens};
use super::source::Loaded;

/// Reads instructions, each ended by an empty line, and answers them until the input ends.
pub(crate) fn run(source: &Loaded, show_tokens: bool, sampling: &GenerateConfig) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    let terminal = std::io::stdin().is_terminal();
    if terminal {
        say(&format!(
            "{}: write an instruction, then an empty line. Ctrl-C stops an answer, Ctrl-D leaves.\n",
            source.name
        ));
    }
    let mut lines = std::io::stdin().lock().lines();
    loop {
        if terminal {
            let _ = std::io::stderr().write_all(b"> ");
        }
        let mut instruction = String::new();
        let mut ended = true;
        for line in lines.by_ref() {
            let line = line?;
            if line.trim().is_empty() {
                ended = false;
                break;
            }
            instruction.push_str(&line);
            instruction.push('\n');
        }
        let text = instruction.trim();
        if !text.is_empty() {
            // What is wrong with one instruction is no reason to leave.
            match answer(source, &Prompt::instruction(text), true, sampling, &interrupt) {
                Ok(answer) => {
                    print_result("\n\n")?;
                    if show_tokens {
                        print_result(&tokens(source, &answer))?;
                    }
                    tracing::info!("{}", figures(&answer));
                }
                Err(error) => say(&format!("{error:#}\n")),
            }
        }
        if ended {
            return Ok(());
        }
    }
}
