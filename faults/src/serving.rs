//! The server under load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use xtask::serving::{Server, complete};

use crate::dice::Dice;
use crate::disturb::send;
use crate::preload::{CallFault, OF_SOCKETS};
use crate::report::Report;
use crate::scene::Scene;

/// Clients at once.
const CLIENTS: u16 = 4;
const PROMPT: &str = "Hugo is at";
/// Time for an answer, and for an end in order.
const PATIENCE: Duration = Duration::from_secs(60);

/// Disturbs a server that answers, `rounds` times. Laws: an answer that arrives is that of an undisturbed server; pieces of a
/// request change nothing; a connection that fails is the client's loss alone; it ends in order when asked to; where it was
/// killed, the next one takes its port at once and answers the same.
pub(crate) fn serving(scene: &Scene, rounds: u64, seed: u64, report: &mut Report) -> Result<()> {
    let expected = {
        let server = Running::start(scene, 0, None)?;
        complete(server.server.address, 0, PROMPT, PATIENCE)?
    };
    let mut dice = Dice::new(seed ^ 3);
    for round in 0..rounds {
        let fault = (dice.below(2) == 0).then(|| CallFault::draw(OF_SOCKETS, 40, &mut dice));
        let signal = [libc::SIGTERM, libc::SIGTERM, libc::SIGKILL][dice.below(3) as usize];
        let name = if signal == libc::SIGKILL { "SIGKILL" } else { "SIGTERM" };
        let kind = fault.as_ref().map_or_else(String::new, |fault| format!("{}, ", fault.kind())) + name;
        let moment = Duration::from_millis(100 + dice.below(1000));
        let outcome = disturbed(scene, fault.as_ref(), signal, moment, &expected);
        report.add("server", &kind, outcome.with_context(|| format!("round {round} of seed {seed}")));
    }
    Ok(())
}

fn disturbed(
    scene: &Scene,
    fault: Option<&CallFault>,
    signal: libc::c_int,
    moment: Duration,
    expected: &str,
) -> Result<()> {
    let mut running = Running::start(scene, 0, fault)?;
    let address = running.server.address;
    let over = AtomicBool::new(false);
    let harmless = fault.is_none_or(|fault| fault.effect != "ECONNRESET");
    std::thread::scope(|scope| {
        let ask = |number| {
            while !over.load(Ordering::SeqCst) {
                match complete(address, number, PROMPT, PATIENCE) {
                    Ok(answer) if answer == expected => {}
                    Ok(answer) => bail!("the answer `{answer}` instead of `{expected}`"),
                    // Nothing is owed once the signal is sent.
                    Err(error) if harmless && !over.load(Ordering::SeqCst) => return Err(error),
                    Err(_) => {}
                }
            }
            Ok(())
        };
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || ask(number))).collect();
        sleep(moment);
        over.store(true, Ordering::SeqCst);
        send(running.server.process(), signal);
        clients.into_iter().try_for_each(|client| client.join().expect("a client panicked"))
    })?;
    let status = running.server.wait(PATIENCE)?;
    let in_order = signal == libc::SIGKILL || status.success();
    ensure!(in_order, "ended with {status}: {}", running.messages());
    ensure!(!running.messages().contains("panicked"), "panicked: {}", running.messages());
    drop(running);
    let next = Running::start(scene, address.port(), None).context("the next server")?;
    let answer = complete(address, 0, PROMPT, PATIENCE)?;
    ensure!(answer == expected, "the next server answers `{answer}` instead of `{expected}`");
    drop(next);
    Ok(())
}

/// A server and what it said.
struct Running {
    server: Server,
    messages: Arc<Mutex<String>>,
}

impl Running {
    fn start(scene: &Scene, port: u16, fault: Option<&CallFault>) -> Result<Self> {
        let mut command = scene.program("generate");
        command.arg("--base_model").arg(scene.base()).args(["--server_port", &port.to_string()]);
        command.args("--threads 1 --device cpu".split(' '));
        if let Some(fault) = fault {
            scene.preload.apply(&mut command, fault);
        }
        let messages = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&messages);
        let tell = move |line: &str| {
            if let Ok(mut text) = heard.lock() {
                text.push_str(line);
                text.push('\n');
            }
        };
        let server = Server::start(&mut command, tell).with_context(|| text(&messages))?;
        Ok(Self { server, messages })
    }

    fn messages(&self) -> String {
        text(&self.messages)
    }
}

fn text(messages: &Mutex<String>) -> String {
    messages.lock().map(|text| text.clone()).unwrap_or_default()
}
