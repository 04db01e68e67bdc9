//! A PostgreSQL server in a temporary folder, stopped when the last test that uses it is over.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use aws_wrapper_pg::core::resolver::{LookupError, Resolver};
use aws_wrapper_pg::core::services::Services;
use aws_wrapper_pg::{Builder, Client, Connector};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// The name in the server's certificate.
pub(crate) const NAME: &str = "db.example.test";

pub(crate) struct Server {
    process: Child,
    directory: PathBuf,
    port: u16,
    root_certificate: String,
}

impl Server {
    /// One server for all tests that leave it as it is.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A server of one's own.
    pub(crate) fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("aws-wrapper-pg-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&directory));
        }
        let data = directory.join("data");
        run(as_postgres(&binary("initdb"))
            .args(["--no-sync", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data));
        let root_certificate = write_certificates(&directory);
        let port = free_port();
        configure(&directory, &data, port);
        let log = fs::File::create(directory.join("log")).unwrap();
        let process = as_postgres(&binary("postgres"))
            .arg("-D")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { process, directory, port, root_certificate };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        for _ in 0..400 {
            let mut command = Command::new(binary("pg_isready"));
            let ready = command.args(["-q", "-h", "127.0.0.1", "-p"]).arg(self.port.to_string());
            if ready.status().unwrap().success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("no server: {}", fs::read_to_string(self.directory.join("log")).unwrap_or_default());
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where its socket is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The authority that signed its certificate, in PEM form.
    pub(crate) fn root_certificate(&self) -> &str {
        &self.root_certificate
    }

    /// As one would write it by hand; without TLS, which has tests of its own.
    pub(crate) fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    pub(crate) fn builder(&self) -> Builder {
        Connector::builder().url(&self.url()).unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        self.builder().build().unwrap().connect().await.unwrap()
    }

    /// To the address by the name in the certificate.
    pub(crate) fn builder_by_name(&self, parameters: &str) -> Builder {
        let url = format!("postgresql://postgres@{NAME}:{}/postgres?{parameters}", self.port);
        Connector::builder().url(&url).unwrap().services(Services::with_resolver(Loopback))
    }

    /// Sends the postmaster a signal.
    pub(crate) fn signal(&self, name: &str) {
        run(Command::new("kill").arg(format!("-{name}")).arg(self.process.id().to_string()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal("CONT");
        self.signal("QUIT");
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Every name is this machine.
#[derive(Debug)]
pub(crate) struct Loopback;

#[async_trait::async_trait]
impl Resolver for Loopback {
    async fn resolve(&self, _host: &str, port: u16) -> Result<Vec<std::net::SocketAddr>, LookupError> {
        Ok(vec![(Ipv4Addr::LOCALHOST, port).into()])
    }
}

fn configure(directory: &Path, data: &Path, port: u16) {
    let mut config = fs::read_to_string(data.join("postgresql.conf")).unwrap();
    let socket = directory.display();
    write!(
        config,
        "\nlisten_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{socket}'\nfsync = off\n\
         ssl = on\nssl_cert_file = '{socket}/server.pem'\nssl_key_file = '{socket}/server.key'\n\
         client_connection_check_interval = '100ms'\n"
    )
    .unwrap();
    fs::write(data.join("postgresql.conf"), config).unwrap();
    fs::write(
        data.join("pg_hba.conf"),
        "local all all trust\n\
         host all cleartext 127.0.0.1/32 password\n\
         host all scram 127.0.0.1/32 scram-sha-256\n\
         hostnossl all tls_only 127.0.0.1/32 reject\n\
         host all all 127.0.0.1/32 trust\n",
    )
    .unwrap();
}

/// An authority and a certificate for [`NAME`]; returns the authority's.
fn write_certificates(directory: &Path) -> String {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([NAME.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let (pem, key_file) = (directory.join("server.pem"), directory.join("server.key"));
    fs::write(&pem, certificate.pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    run(Command::new("chmod").arg("600").arg(&key_file));
    if is_root() {
        run(Command::new("chown").arg("postgres").args([&pem, &key_file]));
    }
    authority.pem()
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The newest installed version, wherever Debian or the path has it.
fn binary(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin").join(name)))
        })
        .filter(|(_, path)| path.exists())
        .collect();
    found.sort();
    found.pop().map_or_else(|| PathBuf::from(name), |(_, path)| path)
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program).current_dir("/");
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

fn run(command: &mut Command) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {out} {err}");
}
