//! What does not fit together in the settings of a child process.

use std::path::Path;

use crate::parse;

/// Every problem of a config with this process, without its snippet; none where all is well.
fn said(stdio: &str) -> Vec<String> {
    let text = format!(
        "downstreams: {{ f: {{ mcp: {{ stdio: {{ {stdio} }} }} }} }}\nidentity: {{ local: {{ roles: [r] }} }}\n\
         policy: {{ roles: {{ r: {{ allow: ['*'] }} }} }}"
    );
    let problems = match parse(&text, "weir.yaml", Path::new("")) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems.iter().cloned().collect(),
    };
    problems.into_iter().map(|problem| problem.message.replace("downstreams.f.mcp.stdio.", "")).collect()
}

#[test]
fn a_child_process_gets_a_program_and_variables_that_make_sense() {
    let cases: &[(&str, &[&str])] = &[
        (
            "command: [server, --stdio], pass_env: [PATH, MY_HOME], env: { LD_PRELOAD: /lib/wanted.so, API_URL: 'https://h' }",
            &[],
        ),
        // What is passed on by default gives way.
        ("command: [server], env: { PATH: /opt/bin }, secrets: { TOKEN: { env: FILES_TOKEN } }", &[]),
        ("command: []", &["`command` names no program"]),
        ("command: ['', x]", &["`command` names no program"]),
        ("command: [server, \"a\\0b\"]", &["`command` has a NUL character, which no program can be given"]),
        (
            "command: [s], env: { 'A=B': x, 1ST: y, '': z, OK_1: w }, pass_env: ['my-home']",
            &[
                "`env.A=B` is not the name of an environment variable",
                "`env.1ST` is not the name of an environment variable",
                "`env.` is not the name of an environment variable",
                "`pass_env[0]` is not the name of an environment variable",
            ],
        ),
        ("command: [s], env: { A: \"x\\0\" }", &["`env.A` has a NUL character, which no variable can hold"]),
        (
            "command: [s], env: { A: x, B: y }, secrets: { A: { env: X }, C: { env: X } }, pass_env: [B, C, PATH, PATH]",
            &[
                "`secrets.A` is set in `env` too",
                "`pass_env[0]` `B` is set in `env` or `secrets` too",
                "`pass_env[1]` `C` is set in `env` or `secrets` too",
                "`pass_env[3]` `PATH` stands here twice",
            ],
        ),
        (
            "command: [s], secrets: { DYLD_INSERT_LIBRARIES: { env: X } }, pass_env: [LD_PRELOAD, NODE_OPTIONS, WEIR_API_KEY]",
            &[
                "`secrets.DYLD_INSERT_LIBRARIES` makes a program load something else",
                "`pass_env[0]` `LD_PRELOAD` makes a program load something else, and Weir's own environment says what",
                "`pass_env[1]` `NODE_OPTIONS` makes a program load something else, and Weir's own environment says what",
                "`pass_env[2]` `WEIR_API_KEY` belongs to Weir, and may be a secret of its own",
            ],
        ),
        (
            "command: [s], start_timeout: 0s, quarantine: 1ms, stop_timeout: 2m, processes_max: 0, message_bytes_max: 1KiB",
            &[
                "`start_timeout` must be longer than nothing",
                "`quarantine` must be from `100ms` to `1h`, not `1ms`",
                "`stop_timeout` must be from `0ms` to `30s`, not `2m`",
                "`processes_max` must be at least 1",
                "`message_bytes_max` must be at least `4KiB`, not `1KiB`",
            ],
        ),
    ];
    for (stdio, wanted) in cases {
        assert_eq!(said(stdio), *wanted, "{stdio}");
    }
}
