//! `ctl`: the client of the HTTP control.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::arguments::Ctl;
use super::command::Command;
use super::endpoints::CONTROL_FILE;
use super::{Result, print, runtime};

pub(super) fn ctl(ctl: Ctl) -> Result<ExitCode> {
    let environment = || std::env::var_os("AURORA_SIM_DIR").map(PathBuf::from);
    let folder = ctl.dir.or_else(environment).ok_or("which cluster? Give --dir or set AURORA_SIM_DIR")?;
    let address = control_address(&folder)?;
    runtime()?.block_on(call(&address, &ctl.command))
}

fn control_address(folder: &Path) -> Result<String> {
    let file = folder.join(CONTROL_FILE);
    let text =
        fs::read_to_string(&file).map_err(|error| format!("no cluster in {}: {error}", folder.display()))?;
    let endpoints: Value = serde_json::from_str(&text)?;
    let url =
        endpoints["control"].as_str().ok_or("the cluster's folder does not tell its control's address")?;
    Ok(url.trim_start_matches("http://").to_owned())
}

async fn call(address: &str, command: &Command) -> Result<ExitCode> {
    let mut parameters = serde_json::to_value(command)?;
    let object = parameters.as_object_mut().ok_or("a command is an object")?;
    let name = object.remove("command").ok_or("a command has a name")?;
    let name = name.as_str().ok_or("a command's name is text")?;

    let stream =
        TcpStream::connect(address).await.map_err(|error| format!("the cluster does not answer: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(format!("/{name}"))
        .header("host", address)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(parameters.to_string())))?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok::<_, hyper::Error>((status, response.into_body().collect().await?.to_bytes()))
    };
    tokio::pin!(exchange);
    let (status, body) = tokio::select! {
        answer = &mut exchange => answer?,
        // The connection may end right behind the answer.
        _ = connection => exchange.await?,
    };
    let value: Value = serde_json::from_slice(&body)?;
    if let Some(error) = value["error"].as_str().filter(|_| !status.is_success()) {
        return Err(error.into());
    }
    print(&serde_json::to_string_pretty(&value)?);
    Ok(ExitCode::SUCCESS)
}
