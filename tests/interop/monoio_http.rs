//! `monoio-http` as a client, in front of the origin on plain threads and in front of an origin of its
//! own. It knows no trailer fields, so that none are sent here.

use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use monoio::io::sink::SinkExt;
use monoio::io::stream::Stream;
use monoio::net::{TcpListener, TcpStream};
use monoio_http::common::body::Body;
use monoio_http::common::error::HttpError;
use monoio_http::common::request::{Request, RequestBuilder};
use monoio_http::common::response::{Response, ResponseBuilder};
use monoio_http::h1::codec::decoder::FillPayload;
use monoio_http::h1::codec::{ClientCodec, ServerCodec};
use monoio_http::h1::payload::{FixedPayload, Payload, stream_payload_pair};

use crate::proxy::on_each_driver;
use crate::{origin, pattern};

/// How long one test may take on a machine that has much else to do.
const TEST_TIME: Duration = Duration::from_secs(120);

/// How long a client rests between two requests: long enough for the proxy to put the connection aside.
const REST_TIME: Duration = Duration::from_millis(2500);

/// Content that comes in one piece, and content that comes in many.
const CHUNK_BYTES: usize = 10_000;
const CHUNKS: usize = 20;

type Client = ClientCodec<TcpStream>;

/// Runs a future on a runtime of its own, with a limit.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build().unwrap();
    runtime.block_on(async { monoio::time::timeout(TEST_TIME, future).await.expect("an answer in time") })
}

async fn connect(address: SocketAddr) -> Client {
    ClientCodec::new(TcpStream::connect_addr(address).await.unwrap())
}

/// Sends a request and reads the response to its end.
async fn ask(client: &mut Client, method: &str, path: &str, content: Payload) -> (u16, Vec<u8>) {
    let request: Request =
        RequestBuilder::new().method(method).uri(path).header("host", "interop").body(content).unwrap();
    client.send_and_flush(request).await.unwrap();
    let response = client.next().await.expect("a response").unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers().get("via").unwrap(), "1.1 ringway");
    let mut payload = response.into_body().with_io(client);
    let mut content = Vec::new();
    while let Some(data) = payload.next_data().await {
        content.extend_from_slice(&data.unwrap());
    }
    (status, content)
}

fn in_one_piece(content: &[u8]) -> Payload {
    Payload::Fixed(FixedPayload::new(Bytes::copy_from_slice(content)))
}

fn in_chunks(content: &[u8]) -> Payload {
    let (payload, mut sender) = stream_payload_pair::<Bytes, HttpError>();
    for chunk in content.chunks(CHUNK_BYTES) {
        sender.feed_data(Some(Bytes::copy_from_slice(chunk)));
    }
    sender.feed_data(None);
    Payload::Stream(payload)
}

/// One exchange after the other over one connection.
async fn converse(proxy: SocketAddr) {
    let content = pattern(CHUNK_BYTES * CHUNKS);
    let mut client = connect(proxy).await;
    for _ in 0..3 {
        assert_eq!(ask(&mut client, "GET", "/hello", Payload::None).await, (200, b"hello".to_vec()));
        assert_eq!(ask(&mut client, "GET", "/chunked", Payload::None).await, (200, b"hello world".to_vec()));
        assert_eq!(ask(&mut client, "POST", "/echo", in_one_piece(b"a=b")).await, (200, b"a=b".to_vec()));
        let (status, echoed) = ask(&mut client, "POST", "/echo", in_one_piece(&content)).await;
        assert!(status == 200 && echoed == content, "the content changed on its way");
        let (status, echoed) = ask(&mut client, "POST", "/echo", in_chunks(&content)).await;
        assert!(status == 200 && echoed == content, "the content changed on its way");
    }
}

#[test]
fn as_a_client() {
    on_each_driver(origin::start(), |proxy| run(converse(proxy.address())));
}

#[test]
fn as_several_clients_at_once() {
    on_each_driver(origin::start(), |proxy| {
        run(async {
            let address = proxy.address();
            let clients: Vec<_> = (0..8).map(|_| monoio::spawn(converse(address))).collect();
            for client in clients {
                client.await;
            }
        });
    });
}

#[test]
fn a_connection_outlives_a_rest() {
    on_each_driver(origin::start(), |proxy| {
        run(async {
            let mut client = connect(proxy.address()).await;
            for rest in [REST_TIME, Duration::ZERO, REST_TIME] {
                assert_eq!(ask(&mut client, "GET", "/hello", Payload::None).await, (200, b"hello".to_vec()));
                monoio::time::sleep(rest).await;
            }
            assert_eq!(ask(&mut client, "POST", "/echo", in_one_piece(b"a=b")).await, (200, b"a=b".to_vec()));
        });
    });
}

#[test]
fn as_client_and_origin() {
    on_each_driver(start_origin(), |proxy| run(converse(proxy.address())));
}

/// Starts an origin that is made of `monoio-http`; it goes on until the process ends.
fn start_origin() -> SocketAddr {
    let (say, said) = channel();
    thread::spawn(move || {
        let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            say.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                monoio::spawn(serve(ServerCodec::new(stream)));
            }
        });
    });
    said.recv().unwrap()
}

async fn serve(mut codec: ServerCodec<TcpStream>) {
    while let Some(Ok(request)) = codec.next().await {
        let path = request.uri().path().to_owned();
        // Content is queued as a whole before it is looked at.
        codec.fill_payload().await.unwrap();
        let mut payload = request.into_body();
        let mut content = Vec::new();
        while let Some(data) = payload.next_data().await {
            content.extend_from_slice(&data.unwrap());
        }
        let content = match path.as_str() {
            "/hello" => in_one_piece(b"hello"),
            "/chunked" => in_chunks(b"hello world"),
            // As it came, in one piece or in chunks.
            _ if matches!(payload, Payload::Stream(_)) => in_chunks(&content),
            _ => in_one_piece(&content),
        };
        let response: Response = ResponseBuilder::new().status(200).body(content).unwrap();
        if codec.send_and_flush(response).await.is_err() {
            return;
        }
    }
}
