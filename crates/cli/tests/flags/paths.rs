//! Blanks around the paths of a command line.

use std::any::TypeId;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::CommandFactory;
use cli::compare::CompareArgs;
use cli::evaluate::EvaluateArgs;
use cli::finetune::FinetuneArgs;
use cli::generate::GenerateArgs;
use cli::merge::MergeArgs;
use cli::pretrain::PretrainArgs;
use cli::unmerge::UnmergeArgs;
use terminal::{is_path, trimmed};

fn of(args: &[&str]) -> (Vec<String>, usize) {
    let args = args.iter().map(OsString::from);
    let (args, notes) = trimmed(args, &GenerateArgs::command());
    (args.into_iter().map(|arg| arg.into_string().unwrap()).collect(), notes.len())
}

#[test]
fn blanks_around_a_path_are_left_out_and_told() {
    let (args, notes) =
        of(&["generate", "--load_8bit", "--lora_weights", "./lora-alpaca ", "--base_model= m\t"]);
    assert_eq!(args, ["generate", "--load_8bit", "--lora_weights", "./lora-alpaca", "--base_model=m"]);
    assert_eq!(notes, 2);
    let texts = ["generate", "--prompt", " Once ", "--stop= x", "--lora_weights", " ", "--out", "a b"];
    assert_eq!(of(&texts), (texts.map(str::to_owned).to_vec(), 0));
}

#[test]
fn every_path_of_every_program_is_trimmed() {
    let programs = [
        CompareArgs::command(),
        EvaluateArgs::command(),
        FinetuneArgs::command(),
        GenerateArgs::command(),
        MergeArgs::command(),
        PretrainArgs::command(),
        UnmergeArgs::command(),
    ];
    for program in &programs {
        for arg in program.get_arguments() {
            if arg.get_value_parser().type_id() == TypeId::of::<PathBuf>() {
                assert!(is_path(arg), "{}: {}", program.get_name(), arg.get_id());
            }
        }
        for name in
            ["base_model", "lora_weights", "data_path", "output_dir", "resume_from_checkpoint", "adapter"]
        {
            let arg = program.get_arguments().find(|arg| arg.get_long() == Some(name));
            assert!(arg.is_none_or(is_path), "{}: {name}", program.get_name());
        }
    }
}
