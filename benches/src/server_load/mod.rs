//! `cargo xtask load`: honest clients of the server, first alone, then beside others that misbehave.

mod args;
mod hostile;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;

use self::args::LoadArgs;
use xtask::measure::median;
use xtask::output::{note, say};
use xtask::serving::{Server, complete, connect};
use xtask::workspace::Workspace;

/// Prompts of the honest clients.
const PROMPTS: [&str; 4] = ["Hugo is at", "Mira", "Where is", "The cave"];
/// Time within which an honest request has to be answered.
const PATIENCE: Duration = Duration::from_secs(120);

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask load", bin_name = "cargo xtask load")]
pub struct ServerLoadArgs {
    #[command(flatten)]
    load: LoadArgs,
}

/// Runs the honest clients alone, beside the others, and alone again.
///
/// # Errors
/// When the server cannot be started, or an honest request fails.
pub fn run(args: &ServerLoadArgs) -> Result<()> {
    let (workspace, args) = (&Workspace::find()?, &args.load);
    if args.clients == 0 || args.requests == 0 {
        bail!("clients and requests have to be at least 1");
    }
    if args.clients.saturating_add(hostile::KINDS.len().saturating_mul(args.hostile)) > usize::from(u16::MAX)
    {
        bail!("clients and 6 times hostile are more than the 65535 addresses that there are for them");
    }
    let mut command = workspace.command(workspace.release_binaries()?.join("generate"));
    command.arg("--base_model").arg(&args.model).args(["--server_port", "0"]);
    let server = Server::start(&mut command, note)?;
    // What each prompt is answered with when nobody else asks, which also warms the server up.
    let expected = PROMPTS.map(|prompt| complete(server.address, 0, prompt, PATIENCE));
    let expected: Vec<String> = expected.into_iter().collect::<Result<_>>()?;

    say(&format!("{:<28}{:>9}{:>11}{:>11}{:>9}{:>12}", "", "requests", "median", "99 %", "errors", "memory"));
    let alone = honest(&server, args, &expected);
    say(&alone.row("honest clients alone", &server));
    let over = AtomicBool::new(false);
    let attempts = AtomicUsize::new(0);
    let (address, stop, begun) = (server.address, &over, &attempts);
    let beside = std::thread::scope(|scope| {
        for (kind, first) in hostile::KINDS.into_iter().zip((args.clients..).step_by(args.hostile.max(1))) {
            for number in first..first + args.hostile {
                let number = number as u16;
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        // Refused or cut off is what it should be.
                        let _ = connect(address, number).and_then(|stream| kind(stream, stop));
                        begun.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
        let beside = honest(&server, args, &expected);
        over.store(true, Ordering::Relaxed);
        beside
    });
    say(&beside.row("beside hostile ones", &server));
    let again = honest(&server, args, &expected);
    say(&again.row("alone again", &server));
    say(&format!(
        "\n{} hostile connections of {} kinds; the honest clients' 99th percentile is {:.1} times as long beside them",
        attempts.load(Ordering::Relaxed),
        hostile::KINDS.len(),
        beside.percentile(99) / alone.percentile(99)
    ));
    if alone.errors + beside.errors + again.errors > 0 {
        bail!("honest requests failed");
    }
    Ok(())
}

/// Times of honest requests.
struct Figures {
    seconds: Vec<f64>,
    errors: usize,
}

/// Sends the honest clients' requests, and checks their answers.
fn honest(server: &Server, args: &LoadArgs, expected: &[String]) -> Figures {
    let next = AtomicUsize::new(0);
    let client = |client| {
        let mut figures = Figures { seconds: Vec::new(), errors: 0 };
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= args.requests {
                return figures;
            }
            let which = number % PROMPTS.len();
            let begun = Instant::now();
            let answer = complete(server.address, client, PROMPTS[which], PATIENCE);
            figures.seconds.push(begun.elapsed().as_secs_f64());
            figures.errors += usize::from(!answer.is_ok_and(|answer| answer == expected[which]));
        }
    };
    let mut all = Figures { seconds: Vec::new(), errors: 0 };
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..args.clients as u16).map(|number| scope.spawn(move || client(number))).collect();
        for client in clients {
            match client.join() {
                Ok(figures) => {
                    all.seconds.extend(figures.seconds);
                    all.errors += figures.errors;
                }
                Err(_) => all.errors += 1,
            }
        }
    });
    all.seconds.sort_by(f64::total_cmp);
    all
}

impl Figures {
    fn percentile(&self, percent: usize) -> f64 {
        let place = (self.seconds.len() * percent).div_ceil(100).max(1) - 1;
        self.seconds.get(place).copied().unwrap_or(f64::NAN)
    }

    fn row(&self, name: &str, server: &Server) -> String {
        let memory = server.resident_mib().map_or_else(|| "–".to_owned(), |mib| format!("{mib} MiB"));
        format!(
            "{name:<28}{:>9}{:>8.0} ms{:>8.0} ms{:>9}{memory:>12}",
            self.seconds.len(),
            1000.0 * median(&self.seconds),
            1000.0 * self.percentile(99),
            self.errors
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_the_time_that_so_many_did_not_exceed() {
        let figures = Figures { seconds: (1..=200).map(f64::from).collect(), errors: 0 };
        assert_eq!(figures.percentile(99).to_bits(), 198.0_f64.to_bits());
        assert_eq!(figures.percentile(100).to_bits(), 200.0_f64.to_bits());
        assert!(Figures { seconds: Vec::new(), errors: 0 }.percentile(99).is_nan());
    }
}
