//! `bench-step`: see `benches::programs::step`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<benches::programs::step::StepArgs>(benches::programs::step::run)
}
