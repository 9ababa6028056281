//! A TLS client: its trusted authority, versions, ALPN protocols and client certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::authority::{Authority, Identity};
use crate::client::Client;
use crate::node::Node;
use crate::{http, soon};

/// Boxed, because it is large.
pub type TlsStream = Box<tokio_rustls::client::TlsStream<TcpStream>>;

/// Trusts one authority.
#[derive(Clone)]
pub struct TlsClient {
    roots: RootCertStore,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
    identity: Option<Identity>,
}

impl TlsClient {
    pub fn new(authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        let pem = authority.pem();
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        roots.add(certificate).expect("an authority");
        Self { roots, versions: rustls::ALL_VERSIONS.to_vec(), alpn: Vec::new(), identity: None }
    }

    /// Supports only this version.
    pub fn with_version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    pub fn with_alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        self
    }

    /// Presents a client certificate on request.
    pub fn with_certificate(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    pub async fn connect(&self, address: SocketAddr) -> TlsStream {
        self.try_connect(address).await.expect("the handshake succeeds")
    }

    /// A TLS 1.3 server reports a refused client only with the first read.
    pub async fn try_connect(&self, address: SocketAddr) -> std::io::Result<TlsStream> {
        self.handshake(http::connect(address).await).await
    }

    /// Connects with a tiny receive buffer.
    pub async fn connect_with_small_buffer(&self, address: SocketAddr) -> TlsStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let stream = soon("a connection", socket.connect(address)).await;
        self.handshake(stream.expect("a listener")).await.expect("the handshake succeeds")
    }

    pub async fn plain(&self, node: &Node, channel: &str) -> Client<TlsStream> {
        self.open(node, &format!("/ws/{channel}")).await
    }

    pub async fn open(&self, node: &Node, path: &str) -> Client<TlsStream> {
        let stream = self.connect(node.public).await;
        Client::try_over(stream, node.public, path).await.expect("the upgrade is accepted")
    }

    /// Sends an HTTP request; returns everything up to the end of the connection.
    pub async fn get(&self, address: SocketAddr, path: &str) -> std::io::Result<String> {
        let mut stream = self.try_connect(address).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        soon("an answer", stream.read_to_string(&mut answer)).await?;
        Ok(answer)
    }

    /// Runs the TLS handshake on a stream that may already have carried bytes.
    pub async fn handshake(&self, stream: TcpStream) -> std::io::Result<TlsStream> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .expect("a version")
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { cert, key }) => {
                let chain = vec![CertificateDer::from_pem_file(cert).expect("a certificate")];
                let key = PrivateKeyDer::from_pem_file(key).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("they belong together")
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        let name = ServerName::try_from("localhost").expect("a name");
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        Ok(Box::new(soon("a TLS handshake", Box::pin(handshake)).await?))
    }
}

/// The certificate of the server.
pub fn peer_certificate(stream: &TlsStream) -> CertificateDer<'static> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().expect("it showed one")[0].clone().into_owned()
}
