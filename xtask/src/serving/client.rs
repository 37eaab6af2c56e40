//! An honest client: one request, one answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Continues a prompt by a few tokens, greedily; returns the text.
///
/// # Errors
/// When there is no answer within `patience`, or it is no completion.
pub fn complete(server: SocketAddr, prompt: &str, patience: Duration) -> Result<String> {
    let body = json!({ "prompt": prompt, "max_tokens": 8, "temperature": 0, "user": "honest" });
    let mut stream = TcpStream::connect(server).context("cannot connect")?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(&post(&body.to_string(), body.to_string().len()))?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).context("no answer")?;
    let response = String::from_utf8(response)?;
    let (head, body) = response.split_once("\r\n\r\n").context("no end of the head")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("the answer is {head}: {body}");
    }
    let value: Value = serde_json::from_str(body).context("the answer is no JSON")?;
    Ok(value["choices"][0]["text"].as_str().context("the answer has no text")?.to_owned())
}

/// Makes a completion request whose body is said to have `length` bytes.
pub fn post(body: &str, length: usize) -> Vec<u8> {
    format!(
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
