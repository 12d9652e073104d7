//! A name server of the test's own, on loopback, over UDP and TCP: what it knows can be changed while it runs.

#![allow(clippy::disallowed_types, reason = "tests share memory between threads; they are no worker")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "not every test needs all that it can do")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use hickory_resolver::proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{CNAME, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// A name server, until this value goes away.
pub(crate) struct Dns {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What is said about a kind of record of a name.
#[derive(Clone)]
enum Says {
    Records(u32, Vec<RData>),
    Fails,
    Nothing,
}

#[derive(Default)]
struct Book {
    says: HashMap<(Name, RecordType), Says>,
    /// What was asked for.
    asked: Vec<(Name, RecordType)>,
    /// Answers over UDP are cut off.
    truncates: bool,
}

impl Dns {
    /// A name server that knows no name, on a free port of loopback.
    pub(crate) fn start() -> Dns {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            // The port may be taken over there.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let (book, stop) = (Arc::<Mutex<Book>>::default(), Arc::<AtomicBool>::default());
        let (known, stopped) = (book.clone(), stop.clone());
        let datagrams = std::thread::spawn(move || {
            let mut bytes = [0; 2048];
            while let Ok((count, peer)) = udp.recv_from(&mut bytes) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                if let Some(answer) = known.lock().unwrap().answer(&bytes[..count], true) {
                    let _ = udp.send_to(&answer, peer);
                }
            }
        });
        let (known, stopped) = (book.clone(), stop.clone());
        let streams = std::thread::spawn(move || {
            while let Ok((stream, _)) = tcp.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let known = known.clone();
                std::thread::spawn(move || while serve(&stream, &known).is_some() {});
            }
        });
        Dns { address, book, stop, threads: vec![datagrams, streams] }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on a name has these addresses and no others, for so many seconds.
    pub(crate) fn addresses(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let of = |v4| addresses.iter().filter(|ip| ip.is_ipv4() == v4).map(|&ip| RData::from(ip)).collect();
        self.say(name, RecordType::A, Says::Records(ttl, of(true)));
        self.say(name, RecordType::AAAA, Says::Records(ttl, of(false)));
    }

    /// From now on a name has these SRV records and no others: priority, weight, port and target.
    pub(crate) fn services(&self, name: &str, ttl: u32, services: &[(u16, u16, u16, &str)]) {
        let record = |&(priority, weight, port, target): &(u16, u16, u16, &str)| {
            RData::SRV(SRV::new(priority, weight, port, whole(target)))
        };
        self.say(name, RecordType::SRV, Says::Records(ttl, services.iter().map(record).collect()));
    }

    /// From now on a name stands for another one.
    pub(crate) fn alias(&self, name: &str, ttl: u32, target: &str) {
        self.say(name, RecordType::CNAME, Says::Records(ttl, vec![RData::CNAME(CNAME(whole(target)))]));
    }

    /// From now on there is no such name.
    pub(crate) fn forget(&self, name: &str) {
        self.book.lock().unwrap().says.retain(|(known, _), _| *known != whole(name));
    }

    /// From now on the answer to such a question is that the server fails.
    pub(crate) fn fail(&self, name: &str, kind: RecordType) {
        self.say(name, kind, Says::Fails);
    }

    /// From now on such a question gets no answer.
    pub(crate) fn ignore(&self, name: &str, kind: RecordType) {
        self.say(name, kind, Says::Nothing);
    }

    /// From now on every answer is too long for UDP.
    pub(crate) fn truncate(&self) {
        self.book.lock().unwrap().truncates = true;
    }

    /// How often a name was asked for.
    pub(crate) fn asked(&self, name: &str, kind: RecordType) -> usize {
        let question = (whole(name), kind);
        self.book.lock().unwrap().asked.iter().filter(|asked| **asked == question).count()
    }

    fn say(&self, name: &str, kind: RecordType, says: Says) {
        self.book.lock().unwrap().says.insert((whole(name), kind), says);
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes both.
        let _ = UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"", self.address);
        let _ = TcpStream::connect(self.address);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Answers one question on a connection (RFC 1035, section 4.2.2).
fn serve(mut stream: &TcpStream, book: &Mutex<Book>) -> Option<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut question = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut question).ok()?;
    let answer = book.lock().unwrap().answer(&question, false)?;
    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length[..], &answer[..]].concat()).ok()
}

/// A name, with or without the dot at its end.
fn whole(name: &str) -> Name {
    let mut name = Name::from_str(name).unwrap().to_lowercase();
    name.set_fqdn(true);
    name
}

impl Book {
    fn answer(&mut self, question: &[u8], over_udp: bool) -> Option<Vec<u8>> {
        let question = Message::from_vec(question).ok()?;
        let query: &Query = question.queries().first()?;
        let mut name = query.name().to_lowercase();
        name.set_fqdn(true);
        self.asked.push((name.clone(), query.query_type()));
        let mut answer = Message::new();
        answer.set_id(question.id()).set_message_type(MessageType::Response).add_query(query.clone());
        answer.set_recursion_desired(true).set_recursion_available(true);
        if self.truncates && over_udp {
            return answer.set_truncated(true).to_vec().ok();
        }
        const ALIASES_MAX: usize = 8;
        for _ in 0..ALIASES_MAX {
            let alias = self.says.get(&(name.clone(), RecordType::CNAME));
            match self.says.get(&(name.clone(), query.query_type())).or(alias) {
                Some(Says::Nothing) => return None,
                Some(Says::Fails) => {
                    answer.set_response_code(ResponseCode::ServFail);
                    break;
                }
                Some(Says::Records(ttl, records)) => {
                    let record = |data: &RData| Record::from_rdata(name.clone(), *ttl, data.clone());
                    answer.add_answers(records.iter().map(record));
                    match &records[..] {
                        [RData::CNAME(CNAME(target))] => name = target.to_lowercase(),
                        _ => break,
                    }
                }
                None if self.says.keys().any(|(known, _)| *known == name) => break,
                None => {
                    answer.set_response_code(ResponseCode::NXDomain);
                    break;
                }
            }
        }
        answer.to_vec().ok()
    }
}
