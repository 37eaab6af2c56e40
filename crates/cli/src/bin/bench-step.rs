//! `bench-step`: see `cli::bench`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<cli::bench::StepArgs>(cli::bench::steps)
}
