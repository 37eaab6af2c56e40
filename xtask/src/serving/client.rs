//! Clients of the server, each at an address of its own where the operating system has more than one for this machine.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

/// Connects as client `number`, from an address of its own on Linux: the server is fair between addresses.
///
/// # Errors
/// When the server does not take the connection.
pub fn connect(server: SocketAddr, number: u16) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    if cfg!(target_os = "linux") && server.ip().is_loopback() && server.is_ipv4() {
        let [high, low] = number.to_be_bytes();
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 1, high, low), 0)).into())?;
    }
    socket.connect(&server.into()).context("cannot connect")?;
    Ok(socket.into())
}

/// Continues a prompt by a few tokens, greedily, as client `number`; returns the text.
///
/// # Errors
/// When there is no answer within `patience`, or it is no completion.
pub fn complete(server: SocketAddr, number: u16, prompt: &str, patience: Duration) -> Result<String> {
    let body = json!({ "prompt": prompt, "max_tokens": 8, "temperature": 0 });
    let mut stream = connect(server, number)?;
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
