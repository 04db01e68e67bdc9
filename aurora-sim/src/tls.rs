//! Certificates for one cluster, made by the `openssl` program.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::error::{Attempt, Result};
use crate::files::write;
use crate::names::HostNames;
use crate::programs::{GivenUp, ServerUser, run};

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/// Where the certificates of a cluster are.
#[derive(Debug)]
pub(crate) struct TlsFiles {
    /// Holds `server.crt` and `server.key`.
    pub(crate) folder: PathBuf,
    /// Certificate of the authority, for clients.
    pub(crate) authority: PathBuf,
}

impl TlsFiles {
    /// Makes an authority and a certificate for all names of a cluster.
    pub(crate) async fn make(folder: &Path, names: &HostNames, user: Option<&ServerUser>) -> Result<Self> {
        fs::create_dir(folder).attempt(|| format!("create {}", folder.display()))?;
        let file = |name: &str| folder.join(name).display().to_string();
        let (authority, authority_key) = (file("ca.pem"), file("ca.key"));
        let (certificate, key, request) = (file("server.crt"), file("server.key"), file("server.csr"));

        let mut words = vec!["openssl", "req", "-x509", "-days", "3650", "-subj", "/CN=aurora-sim authority"];
        words.extend(KEY);
        words.extend([
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ]);
        words.extend(["-keyout", &authority_key, "-out", &authority]);
        openssl(&words).await?;

        let mut words = vec!["openssl", "req", "-subj", "/CN=aurora-sim"];
        words.extend(KEY);
        words.extend(["-keyout", &key, "-out", &request]);
        openssl(&words).await?;

        let extensions = folder.join("extensions");
        let alternatives: Vec<String> =
            names.certificate_names().iter().map(|name| format!("DNS:{name}")).collect();
        let text = format!(
            "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName={}\n",
            alternatives.join(",")
        );
        write(&extensions, &text)?;
        let extensions = extensions.display().to_string();
        let sign = ["openssl", "x509", "-req", "-days", "3650", "-in", &request, "-extfile", &extensions];
        let signer = ["-CA", &authority, "-CAkey", &authority_key, "-CAcreateserial", "-out", &certificate];
        openssl(&[&sign[..], &signer[..]].concat()).await?;

        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).attempt(|| format!("protect {key}"))?;
        if let Some(user) = user {
            chown(&key, Some(user.uid), Some(user.gid)).attempt(|| format!("give {key} away"))?;
        }
        for path in [folder.to_owned(), certificate.into(), authority.clone().into()] {
            let mode = if path == folder { 0o755 } else { 0o644 };
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(&path, permissions)
                .attempt(|| format!("change the mode of {}", path.display()))?;
        }
        Ok(Self { folder: folder.to_owned(), authority: authority.into() })
    }
}

async fn openssl(words: &[&str]) -> Result<()> {
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    run(&words, None, GivenUp::Killed).await.map(drop)
}
