//! Every program, and `llama-ft`, which is all of them.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;

use crate::exit::{main_from, refuse};
use crate::help::command_after;
use crate::{compare, evaluate, finetune, generate, merge, pretrain, runs, unmerge};

/// A program of this crate.
#[derive(Debug)]
pub struct Program {
    /// Its name, as a file and as a subcommand.
    pub name: &'static str,
    /// Makes its command line, for who types this before the name.
    pub command: fn(&str) -> Command,
    run: fn(&str, Vec<OsString>) -> ExitCode,
}

/// Makes a [`Program`] of the module of its name.
macro_rules! program {
    ($name:ident, $args:ident) => {
        Program {
            name: stringify!($name),
            command: command_after::<$name::$args>,
            run: |prefix, args| main_from(prefix, args, $name::run),
        }
    };
}

/// Every program.
pub const PROGRAMS: [Program; 8] = [
    program!(finetune, FinetuneArgs),
    program!(generate, GenerateArgs),
    program!(merge, MergeArgs),
    program!(unmerge, UnmergeArgs),
    program!(evaluate, EvaluateArgs),
    program!(compare, CompareArgs),
    program!(pretrain, PretrainArgs),
    program!(runs, RunsArgs),
];

/// Name of the program that is all of them.
pub const ALL_IN_ONE: &str = "llama-ft";
/// Typed before the name of a program that is a subcommand.
const PREFIX: &str = "llama-ft ";

/// Returns the command line of `llama-ft`, with every program as a subcommand.
pub fn all_in_one() -> Command {
    Command::new(ALL_IN_ONE)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Fine-tune LLaMA, Qwen2 and Qwen3 models; generate, merge, evaluate")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(PROGRAMS.iter().map(|program| (program.command)(PREFIX)))
}

/// Runs the program that the first argument names, or the name this one was called by: a link `finetune` is `finetune`.
pub fn main() -> ExitCode {
    run(env::args_os().collect())
}

fn run(args: Vec<OsString>) -> ExitCode {
    let named = |name: Option<&str>| PROGRAMS.iter().find(|program| Some(program.name) == name);
    let own = args.first().and_then(|path| Path::new(path).file_name()?.to_str());
    if let Some(program) = named(own) {
        return (program.run)("", args);
    }
    if let Some(program) = named(args.get(1).and_then(|word| word.to_str())) {
        let name = OsString::from(format!("{PREFIX}{}", program.name));
        return (program.run)(PREFIX, std::iter::once(name).chain(args.into_iter().skip(2)).collect());
    }
    let mut command = all_in_one();
    match command.try_get_matches_from_mut(args) {
        // A subcommand is one of the programs, which have had their turn.
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => refuse(&error, &command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guide_is_a_programs_and_every_program_has_one() {
        let named = |names: &mut Vec<&'static str>| names.sort_unstable();
        let (mut programs, mut guides) = (
            PROGRAMS.map(|program| program.name).to_vec(),
            crate::help::GUIDES.iter().map(|guide| guide.program).collect(),
        );
        named(&mut programs);
        named(&mut guides);
        assert_eq!(programs, guides);
        for program in &PROGRAMS {
            assert_eq!((program.command)("").get_name(), program.name);
        }
    }

    #[test]
    fn the_command_line_of_all_programs_is_sound() {
        all_in_one().debug_assert();
    }
}
