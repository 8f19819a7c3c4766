//! Secrets that lie in Vault, with a program, or in `.env`: read at the start, and again while the router runs.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
    vault::Vault,
};
use tempfile::TempDir;
use tests::{Fleet, TestRouter, private_file, until};

/// A downstream that keeps what it was shown.
async fn server() -> Result<RawServer> {
    RawServer::start(Era::LegacyOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => {
            Some(vec![Action::result(message, r#"{"tools":[{"name":"read","inputSchema":{"type":"object"}}]}"#)])
        }
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
        _ => None,
    })
    .await
}

fn config(server: &RawServer, credential: &Value, secrets: &Value) -> Value {
    let mut config = tests::open_house(&[("raw", &server.url)]);
    config["downstreams"]["raw"]["mcp"]["websocket"]["credential"] = json!({ "bearer": credential });
    config["secrets"] = secrets.clone();
    config
}

/// Until the downstream was shown this.
async fn shown(server: &RawServer, token: &str) -> Result<()> {
    let wanted = format!("bearer {token}").to_lowercase();
    until(&format!("the token {token}"), async || {
        Ok(server.heads().iter().any(|head| head.to_lowercase().contains(&wanted)).then_some(()))
    })
    .await
}

/// The key is that of a caller.
async fn in_vault(login: Value) -> Result<(Vault, RawServer, Fleet, String)> {
    let vault = Vault::start("hvs.root").await?;
    vault.role("weir-role", "secret-id-of-weir");
    vault.put("weir/raw", json!({ "token": "first-token", "other": 1 }));
    let server = server().await?;
    let secrets = json!({
        "vault": { "address": format!("http://{}", vault.addr()), "namespace": "team", "login": login }, "refresh": "1s",
    });
    let folder = tempfile::tempdir()?;
    private_file(folder.path().join("vault-token"), vault.token())?;
    private_file(folder.path().join("secret-id"), "secret-id-of-weir\n")?;
    let mut config = config(&server, &json!({ "vault": "secret/weir/raw#token" }), &secrets);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    let key = tests::keys(folder.path(), &[("ann", &["all"])])?.remove(0);
    let fleet = Fleet::start(1, folder, config).await?;
    shown(&server, "first-token").await?;
    Ok((vault, server, fleet, key))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_vault_changes_is_in_force_without_a_restart() -> Result<()> {
    let (vault, server, fleet, key) = in_vault(json!({ "token": { "file": "vault-token" } })).await?;
    vault.put("weir/raw", json!({ "token": "second-token" }));
    shown(&server, "second-token").await.with_context(|| fleet.log(0))?;
    ensure!(vault.renewals_and_logins().0 > 0, "a token that can be renewed is");
    ensure!(vault.requests().iter().all(|request| request.header("x-vault-namespace") == Some("team")));

    // What cannot be read now stays what it was, also where the config is read again for another reason.
    vault.seal(true);
    let lacking = async || fleet.metric(0, "weir_secrets_fetched_total", "lacking").await;
    until("it was asked in vain", async || Ok((lacking().await? > 0.0).then_some(()))).await?;
    ensure!(fleet.call(0, &key, "raw__read", json!({})).await?.status == 200);
    vault.put("weir/raw", json!({ "token": "third-token" }));
    vault.seal(false);
    shown(&server, "third-token").await?;
    let log = fleet.log(0);
    for secret in ["first-token", "second-token", "third-token", "hvs."] {
        ensure!(!log.contains(secret), "{log}");
    }
    ensure!(log.contains("cannot be read now"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_by_approle_does_so_again_when_its_token_ends() -> Result<()> {
    let login = json!({ "app_role": { "role_id": "weir-role", "secret_id": { "file": "secret-id" } } });
    let (vault, server, _fleet, _key) = in_vault(login).await?;
    let logins = vault.renewals_and_logins().1;
    vault.revoke_all();
    vault.put("weir/raw", json!({ "token": "second-token" }));
    shown(&server, "second-token").await?;
    ensure!(vault.renewals_and_logins().1 > logins);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_vault_or_a_program_cannot_give_is_said_at_its_setting() -> Result<()> {
    let vault = Vault::start("hvs.root").await?;
    vault.put("weir/raw", json!({ "token": "first-token", "number": 1, "empty": "" }));
    vault.put("weir/gone", json!({ "token": "x" }));
    vault.delete("weir/gone");
    let server = server().await?;
    let folder = tempfile::tempdir()?;
    private_file(folder.path().join("root"), "hvs.root")?;
    private_file(folder.path().join("wrong"), "hvs.wrong")?;
    let check = async |credential: Value, token: &str| -> Result<String> {
        let login = json!({ "token": { "file": token } });
        let secrets = json!({ "vault": { "address": format!("http://{}", vault.addr()), "login": login }, "command_timeout": "300ms" });
        fs::write(folder.path().join("weir.yaml"), config(&server, &credential, &secrets).to_string())?;
        let loaded = router::load(&folder.path().join("weir.yaml")).await;
        let loaded = loaded.map_err(|problems| anyhow::anyhow!("{problems}"))?;
        Ok(loaded.surroundings().map(|_| "found".to_owned()).unwrap_or_else(|problems| problems.to_string()))
    };
    let of_vault = |place: &str| json!({ "vault": place });
    ensure!(check(of_vault("secret/weir/raw#token"), "root").await? == "found");
    for (place, token, words) in [
        ("secret/weir/raw#tokn", "root", "has no key `tokn`"),
        ("secret/weir/raw#number", "root", "is no text"),
        ("secret/weir/raw#empty", "root", "is empty"),
        ("secret/weir/nothing#token", "root", "Vault has nothing there"),
        ("secret/weir/gone#token", "root", "was deleted"),
        ("secret/weir/raw#token", "wrong", "does not permit"),
        ("secret/weir/raw#token", "missing", "cannot be read"),
    ] {
        let said = check(of_vault(place), token).await?;
        ensure!(said.contains(words) && said.contains("credential.bearer"), "{place}: {said}");
        ensure!(!said.contains("first-token") && !said.contains("hvs."), "{said}");
    }
    for (command, words) in [
        (json!(["sh", "-c", "printf 'from a program\\n' | tr ' ' -"]), "found"),
        (json!(["sh", "-c", "echo hid''den; echo hid''den >&2; exit 3"]), "exit status: 3"),
        (json!(["sh", "-c", "sleep 60 & wait"]), "did not end within 0.3 s"),
        (json!(["/no/such/program"]), "cannot be started"),
        (json!(["true"]), "it printed nothing"),
        (json!(["head", "-c", "100000", "/dev/zero"]), "more than 65536 bytes"),
    ] {
        let said = check(json!({ "command": command }), "root").await?;
        ensure!(said.contains(words) && !said.contains("hidden"), "{command}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_given_nothing_of_weirs_own_environment_that_holds_a_secret() -> Result<()> {
    let server = server().await?;
    let folder = tempfile::tempdir()?;
    let command = json!({ "command": ["sh", "-c", "env | cut -d= -f1 | sort | tr '\\n' ,"] });
    fs::write(folder.path().join("weir.yaml"), config(&server, &command, &json!({})).to_string())?;
    let loaded =
        router::load(&folder.path().join("weir.yaml")).await.map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let value = loaded.sources.fetched().values().next().cloned();
    let names = value.expect("it was run").map_err(anyhow::Error::msg)?;
    let names = secrecy::ExposeSecret::expose_secret(&names).to_owned();
    let allowed = ["HOME", "LANG", "PATH", "PWD", "OLDPWD", "SHLVL", "TMPDIR", "USER", "_", ""];
    ensure!(names.split(',').all(|name| allowed.contains(&name)), "{names}");
    Ok(())
}

fn with_dotenv(text: &str, mode: u32) -> Result<TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir()?;
    private_file(folder.path().join(".env"), text)?;
    fs::set_permissions(folder.path().join(".env"), fs::Permissions::from_mode(mode))?;
    Ok(folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_dotenv_gives_what_the_environment_does_not_have() -> Result<()> {
    let server = server().await?;
    let config = config(&server, &json!({ "env": "WEIR_TEST_DOTENV_TOKEN" }), &json!({})).to_string();
    let folder = with_dotenv("# for development\nWEIR_TEST_DOTENV_TOKEN=\"from-dotenv\"\n", 0o600)?;
    fs::write(folder.path().join("weir.yaml"), &config)?;
    let loaded =
        router::load(&folder.path().join("weir.yaml")).await.map_err(|problems| anyhow::anyhow!("{problems}"))?;
    ensure!(loaded.warnings.iter().any(|warning| warning.to_string().contains(".env")));
    let _router = TestRouter::of(loaded, folder).await?;
    shown(&server, "from-dotenv").await?;

    for (text, mode, words) in [
        ("A=1", 0o644, "chmod 600"),
        ("A=1\nhidden", 0o600, "line 2 has no `=`"),
        ("A='hidden", 0o600, "line 1 has a quote"),
    ] {
        let folder = with_dotenv(text, mode)?;
        fs::write(folder.path().join("weir.yaml"), &config)?;
        let refused = router::load(&folder.path().join("weir.yaml")).await.err().map(|problems| problems.to_string());
        let refused = refused.unwrap_or_default();
        ensure!(refused.contains(words) && !refused.contains("hidden"), "{refused}");
    }
    Ok(())
}
