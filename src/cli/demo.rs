//! `ringway demo`: two small origins on loopback, the proxy in front of them, and what to try.
//!
//! The origins are as plain as can be: a thread for each connection, one request after another.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::{Failure, announce, complain, summary};
use crate::config::{Options, Origin};
use crate::observe::Format;
use crate::server::{self, RunError};

/// Runs the demo until it is interrupted.
pub(super) fn run(options: Options) -> Result<(), Failure> {
    let origins = ["blue", "green"].into_iter().map(start_origin).collect::<io::Result<Vec<Origin>>>();
    let origins =
        origins.map_err(|error| RunError::Failed(format!("cannot start the demo's origins: {error}")))?;
    let mut defaults =
        Options { origin: Some(origins), access_log: Some(Format::Combined), ..Options::default() };
    if options.port.is_none() && TcpListener::bind(("127.0.0.1", 8080)).is_err() {
        complain("port 8080 is in use, so the demo takes a free one");
        defaults.port = Some(0);
    }
    let settings = options.or(defaults).into_settings(None)?;
    let totals = server::run(
        &settings,
        Box::new(|| Err("the demo has no configuration to read".to_owned())),
        |started| {
            announce(&settings, started);
            if let Some(address) = started.listening.first() {
                complain(&things_to_try(&format!("http://{address}")));
            }
        },
        complain,
    )?;
    complain(&summary(&totals));
    Ok(())
}

fn things_to_try(url: &str) -> String {
    format!(
        "things to try in another terminal:\n\
         \n  curl -i {url}/                          two origins take turns\
         \n  curl -i {url}/cached                    slow once, then from the cache: see X-Cache\
         \n  curl -i {url}/bytes/100000 -o /dev/null content of any size, streamed\
         \n  curl -N {url}/stream                    chunks, passed on as they come\
         \n  curl -d 'hello' {url}/echo              what the origin sees\
         \n  curl -i {url}/truncated                 an origin that breaks off\
         \n  curl -i -H 'Accept: application/json' -X TRACE {url}/\
         \n  curl -i --path-as-is -H 'Host: a b' {url}/   a request that is refused\
         \n\nEach request shows as a line below. Ctrl-C ends the demo."
    )
}

/// Starts an origin that answers with its colour.
fn start_origin(colour: &'static str) -> io::Result<Origin> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    thread::Builder::new().name(format!("origin-{colour}")).spawn(move || {
        for stream in listener.incoming().flatten() {
            // A thread that cannot be had, or a connection that breaks, is not the demo's concern.
            let _ = thread::Builder::new().spawn(move || serve(&stream, colour));
        }
    })?;
    format!("http://127.0.0.1:{port}").parse().map_err(io::Error::other)
}

fn serve(stream: &TcpStream, colour: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        let mut length = 0;
        loop {
            let before = head.len();
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
            let line = head[before..].trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut content = vec![0; length];
        reader.read_exact(&mut content)?;
        if !answer(stream, colour, &head, &content)? {
            return Ok(());
        }
    }
}

/// Answers one request; says whether the connection goes on.
fn answer(mut stream: &TcpStream, colour: &str, head: &str, content: &[u8]) -> io::Result<bool> {
    let path = head.split(' ').nth(1).unwrap_or("/");
    let mut with = |status: &str, fields: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nX-Origin: {colour}\r\n{fields}Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())
    };
    let mut plain = |status: &str, body: &[u8]| with(status, "", body);
    match path.split('/').nth(1).unwrap_or_default() {
        "" => plain("200 OK", format!("hello from the {colour} origin\n").as_bytes())?,
        "cached" => {
            thread::sleep(Duration::from_millis(500));
            let body = format!("half a second's work of the {colour} origin, good for half a minute\n");
            with("200 OK", "Cache-Control: max-age=30\r\n", body.as_bytes())?;
        }
        "echo" => plain("200 OK", &[head.as_bytes(), content].concat())?,
        "bytes" => {
            let count =
                path.rsplit('/').next().and_then(|count| count.parse().ok()).unwrap_or(1024).min(1 << 26);
            plain("200 OK", &vec![b'x'; count])?;
        }
        "stream" => {
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n",
            )?;
            for count in 1..=10 {
                let line = format!("{count} of 10 from {colour}\n");
                stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes())?;
                thread::sleep(Duration::from_millis(300));
            }
            stream.write_all(b"0\r\n\r\n")?;
        }
        "truncated" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nthis is all")?;
            return Ok(false);
        }
        _ => plain("404 Not Found", b"the demo has /, /cached, /bytes/N, /stream, /echo and /truncated\n")?,
    }
    Ok(true)
}
