//! `generate`: see `cli::generate`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<cli::generate::GenerateArgs>(cli::generate::run)
}
