//! Ranges of whole numbers on the command line and in run files.

use std::any::TypeId;
use std::num::NonZeroU32;

use clap::{CommandFactory, Parser};
use cli::ranges::{RANGES, bounded, check_table};
use toml::Table;

use crate::programs;

#[derive(Debug, Parser)]
#[command(rename_all = "snake_case")]
struct Program {
    #[arg(long, default_value_t = 8)]
    batch_size: usize,
    #[arg(long)]
    threads: Option<usize>,
    #[arg(long)]
    num_epochs: Option<NonZeroU32>,
    #[arg(long, default_value_t = 1)]
    lora_r: i64,
    #[arg(long, default_value_t = 0.0)]
    scale: f64,
}

fn parse(args: &[&str]) -> Result<clap::ArgMatches, clap::Error> {
    bounded(Program::command()).try_get_matches_from([&["program"], args].concat())
}

#[test]
fn a_number_out_of_its_range_is_told_the_range() {
    for (args, expected) in [
        (["--threads", "4294967296"], "--threads is 4294967296; it has to be at least 1 and at most 4096"),
        (["--threads", "-1"], "--threads is -1; it has to be at least 1 and at most 4096"),
        (["--threads", "0"], "--threads is 0; it has to be at least 1"),
        (["--num_epochs", "0"], "--num_epochs is 0; it has to be at least 1"),
        (["--lora_r", "99999999999999999999"], "--lora_r is 99999999999999999999; it has to be"),
        (["--lora_r", "eight"], "--lora_r is `eight`; expected a whole number of at least 1"),
        (["--batch_size", "1.5"], "--batch_size is `1.5`; expected a whole number"),
    ] {
        let error = parse(&args).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.starts_with(expected), "{args:?}: {source}");
    }
}

#[test]
fn numbers_in_range_and_defaults_keep_their_types() {
    use clap::FromArgMatches;
    let matches = parse(&["--threads", "2", "--num_epochs", "3", "--scale", "-0.5"]).unwrap();
    let program = Program::from_arg_matches(&matches).unwrap();
    assert_eq!((program.threads, program.batch_size, program.lora_r), (Some(2), 8, 1));
    assert_eq!(program.num_epochs, NonZeroU32::new(3));
    assert!((program.scale + 0.5).abs() < 1e-12);
}

#[test]
fn every_whole_number_of_every_program_has_a_range() {
    for (command, _) in programs() {
        let name = command.get_name().to_owned();
        for arg in command.get_arguments() {
            let of = arg.get_value_parser().type_id();
            let is_whole = [
                TypeId::of::<usize>(),
                TypeId::of::<u16>(),
                TypeId::of::<u32>(),
                TypeId::of::<u64>(),
                TypeId::of::<i64>(),
                TypeId::of::<NonZeroU32>(),
            ];
            let id = arg.get_id().as_str();
            // A size with its unit, which has a parser of its own.
            if id != "max_shard_size" && is_whole.iter().any(|whole| of == *whole) {
                assert!(RANGES.iter().any(|(known, ..)| *known == id), "{name} --{id}");
            }
        }
    }
}

#[test]
fn a_run_file_has_the_ranges_of_the_flags() {
    let table: Table = "threads = 4294967296".parse().unwrap();
    assert!(check_table(&table).unwrap_err().to_string().contains("at most 4096"));
}
