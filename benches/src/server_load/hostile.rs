//! Clients that misbehave. Each does it once, and gives its connection up when the run is over.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use xtask::serving::post;

type Kind = fn(TcpStream, &AtomicBool) -> Result<()>;

/// Every kind of misbehaviour.
pub(crate) const KINDS: [Kind; 6] =
    [never_reads, disconnects, half_head, half_body, oversized_prompt, many_answers];

/// Time between two bytes of a slow client.
const PAUSE: Duration = Duration::from_millis(200);

/// Holds a connection until the server closes it or the run is over; `drip` is sent now and then.
fn hold(mut stream: TcpStream, over: &AtomicBool, drip: &[u8]) -> Result<()> {
    while !over.load(Ordering::Relaxed) {
        stream.write_all(drip)?;
        match stream.read(&mut [0; 64]) {
            Ok(0) => return Ok(()),
            Err(error)
                if !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                return Err(error.into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Asks for a long stream and takes nothing of it.
fn never_reads(mut stream: TcpStream, over: &AtomicBool) -> Result<()> {
    let body = json!({ "prompt": "Hugo", "max_tokens": 200, "temperature": 1, "stream": true }).to_string();
    stream.write_all(&post(&body, body.len()))?;
    for _ in 0..50 {
        if over.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Asks, and goes away before the answer.
fn disconnects(mut stream: TcpStream, _: &AtomicBool) -> Result<()> {
    let body = json!({ "prompt": "Hugo", "max_tokens": 200, "temperature": 1 }).to_string();
    stream.write_all(&post(&body, body.len()))?;
    std::thread::sleep(PAUSE / 10);
    Ok(())
}

/// Sends a head byte by byte and never ends it.
fn half_head(mut stream: TcpStream, over: &AtomicBool) -> Result<()> {
    stream.write_all(b"GET /health HTTP/1.1\r\nX: ")?;
    hold(stream, over, b"x")
}

/// Sends a part of a body.
fn half_body(mut stream: TcpStream, over: &AtomicBool) -> Result<()> {
    stream.write_all(&post("{\"prompt\": \"", 100_000))?;
    hold(stream, over, b"x")
}

/// Sends a prompt far beyond the context, and does not wait.
fn oversized_prompt(mut stream: TcpStream, _: &AtomicBool) -> Result<()> {
    let body = json!({ "prompt": "a ".repeat(500_000), "max_tokens": 1 }).to_string();
    stream.write_all(&post(&body, body.len()))?;
    let _ = stream.read(&mut [0; 64]);
    std::thread::sleep(PAUSE);
    Ok(())
}

/// Asks for as many answers at once as a request may.
fn many_answers(mut stream: TcpStream, _: &AtomicBool) -> Result<()> {
    let body = json!({ "prompt": "Hugo", "n": 64, "max_tokens": 4, "temperature": 1 }).to_string();
    stream.write_all(&post(&body, body.len()))?;
    stream.set_read_timeout(Some(50 * PAUSE))?;
    let _ = stream.read(&mut [0; 64]);
    Ok(())
}
