//! `compare`: see `cli::compare`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<cli::compare::CompareArgs>(cli::compare::run)
}
