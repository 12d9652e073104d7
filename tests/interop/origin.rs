//! A small origin on plain threads, which answers by path.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// What `/letters` holds.
pub(crate) const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

/// How long a connection may be quiet, so that no thread outlives the tests for long.
const QUIET_TIME: Duration = Duration::from_secs(120);

/// Starts it; it goes on until the process ends.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                // A peer that goes away in the middle is none of the origin's business.
                let _ = serve(&stream);
            });
        }
    });
    address
}

struct Request {
    /// The head as it came, without the empty line.
    head: String,
    content: Vec<u8>,
}

impl Request {
    fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let named =
        |line: &'a str| line.split_once(':').filter(|(written, _)| written.eq_ignore_ascii_case(name));
    head.lines().find_map(named).map(|(_, value)| value.trim())
}

fn serve(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(QUIET_TIME))?;
    stream.set_write_timeout(Some(QUIET_TIME))?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = receive(&mut reader, stream)? {
        if !answer(&request, stream)? {
            break;
        }
    }
    Ok(())
}

fn receive(reader: &mut impl BufRead, mut writer: impl Write) -> io::Result<Option<Request>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
    }
    head.truncate(head.len() - 4);
    if field(&head, "Expect").is_some() {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut content = Vec::new();
    if field(&head, "Transfer-Encoding").is_some() {
        while let length @ 1.. = chunk_size(reader)? {
            reader.by_ref().take(length).read_to_end(&mut content)?;
            reader.read_line(&mut String::new())?;
        }
        reader.read_line(&mut String::new())?;
    } else if let Some(length) = field(&head, "Content-Length") {
        let length = length.parse().map_err(io::Error::other)?;
        reader.by_ref().take(length).read_to_end(&mut content)?;
    }
    Ok(Some(Request { head, content }))
}

fn chunk_size(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    u64::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)
}

/// Answers, and says whether the connection stays open.
fn answer(request: &Request, mut to: &TcpStream) -> io::Result<bool> {
    let whole = |content: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
        [head.as_bytes(), if request.head.starts_with("HEAD ") { b"" } else { content }].concat()
    };
    match request.path() {
        "/hello" => to.write_all(&whole(b"hello"))?,
        "/echo" => to.write_all(&whole(&request.content))?,
        "/head" => to.write_all(&whole(request.head.as_bytes()))?,
        "/letters" => to.write_all(&letters(request))?,
        "/chunked" => to.write_all(&chunked(""))?,
        "/trailers" => to.write_all(&chunked("X-Sum: 1\r\n"))?,
        "/no-content" => to.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?,
        "/early-hints" => {
            to.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")?;
            to.write_all(&whole(b"hello"))?;
        }
        "/until-close" => {
            to.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello until the end")?;
            return Ok(false);
        }
        "/truncated" => {
            to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")?;
            return Ok(false);
        }
        "/truncated-chunked" => {
            to.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
            return Ok(false);
        }
        "/http-0.9" => {
            to.write_all(b"hello without a head")?;
            return Ok(false);
        }
        _ => to.write_all(&whole(request.path().as_bytes()))?,
    }
    Ok(true)
}

fn chunked(trailers: &str) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    format!("{head}5;a=b\r\nhello\r\n6\r\n world\r\n0\r\n{trailers}\r\n").into_bytes()
}

/// The letters, or those that a Range field with a first and a last position asks for.
fn letters(request: &Request) -> Vec<u8> {
    let asked = request.field("Range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let (head, content) = match asked.map(|(first, last)| (first.parse::<usize>(), last.parse::<usize>())) {
        Some((Ok(first), Ok(last))) if first <= last && last < LETTERS.len() => {
            let part = &LETTERS[first..=last];
            let range = format!("Content-Range: bytes {first}-{last}/{}", LETTERS.len());
            (
                format!("HTTP/1.1 206 Partial Content\r\n{range}\r\nContent-Length: {}\r\n\r\n", part.len()),
                part,
            )
        }
        Some(_) => ("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n".to_owned(), &b""[..]),
        None => (format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", LETTERS.len()), LETTERS),
    };
    [head.as_bytes(), content].concat()
}
