//! `evaluate`: see `cli::evaluate`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<cli::evaluate::EvaluateArgs>(cli::evaluate::run)
}
