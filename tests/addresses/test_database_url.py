"""DATABASE_URL: what consoles hand out, as asyncpg gets it, and what is refused."""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args  # type: ignore[attr-defined]

from addresses.database_url import DatabaseAddress, parse_database_url

# As the providers' consoles show them, with other names.
CONSOLES = {
    "Neon": "postgresql://o:npg_x1@ep-a-1.eu-central-1.aws.neon.tech/neondb"
    "?sslmode=require&channel_binding=require",
    "Neon, old client": "postgres://o:p@ep-a-1.aws.neon.tech/neondb"
    "?sslmode=require&options=endpoint%3Dep-a-1",
    "Supabase, direct": "postgresql://postgres:p@db.abcdef.supabase.co:5432/postgres",
    "Supabase, pooler": "postgresql://postgres.abcdef:p@aws-0-eu-1.pooler.supabase.com:6543/postgres"
    "?pgbouncer=true&connection_limit=1",
    "Supabase by Vercel": "postgres://postgres.abcdef:p@aws-0-eu-1.pooler.supabase.com:6543/postgres"
    "?sslmode=require&supa=base-pooler.x",
    "Heroku": "postgres://u:p@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d1",
    "Render": "postgresql://u:p@dpg-abc-a.frankfurt-postgres.render.com/d",
    "RDS": "postgresql://u:p@db.abc.eu-central-1.rds.amazonaws.com:5432/d?connect_timeout=10",
    "Fly": "postgres://u:p@app-db.flycast:5432/app?sslmode=disable",
    "DigitalOcean": "postgresql://doadmin:p@db-1.b.db.ondigitalocean.com:25060/defaultdb?sslmode=require",
    "Aiven": "postgres://avnadmin:p@pg-1-x.aivencloud.com:12345/defaultdb?sslmode=require",
    "Azure": "postgresql://user%40server:p@server.postgres.database.azure.com:5432/d?sslmode=require",
    "Cloud SQL": "postgresql://u:p@localhost/d?host=/cloudsql/project:region:instance",
    "Prisma": "postgresql://u:p@h:5432/d?schema=public&pool_timeout=20&connection_limit=5",
    "SQLAlchemy": "postgresql+asyncpg://u:p@h/d?ssl=require&prepared_statement_cache_size=0",
    "Rails": "postgresql://u:p@h/d?prepared_statements=false&statement_timeout=5s",
    "libpq": "postgresql://u:p@h1:5432,h2:5433/d?target_session_attrs=read-write&keepalives=1"
    "&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&gssencmode=disable"
    "&tcp_user_timeout=9&client_encoding=utf8&fallback_application_name=x&sslcompression=0",
    "verified": "postgresql://u:p@h/d?sslmode=verify-full&sslrootcert=system",
    "bare": "postgresql:///",
}
OF_POSTGRESQL = {"application_name", "options", "statement_timeout", "search_path"}


def as_asyncpg_reads(address: DatabaseAddress) -> tuple[list[object], dict[str, object]]:
    """Addresses and parameters, by asyncpg's own parser."""
    names = ("host", "port", "user", "password", "passfile", "database", "service", "servicefile")
    rest = ("direct_tls", "target_session_attrs", "krbsrvname", "gsslib")
    hosts, parameters = _parse_connect_dsn_and_args(
        dsn=address.dsn,
        ssl=True if address.system_roots else None,
        server_settings=dict(address.server_settings),
        **dict.fromkeys((*names, *rest)),
    )
    return hosts, parameters._asdict()


@pytest.mark.parametrize("console", CONSOLES)
def test_what_consoles_hand_out_reaches_the_driver_without_what_it_does_not_know(
    console: str,
) -> None:
    address = parse_database_url(CONSOLES[console])
    _, parameters = as_asyncpg_reads(address)
    # What asyncpg does not know it would send to the server, which refuses the connection.
    assert set(parameters["server_settings"] or ()) <= OF_POSTGRESQL  # type: ignore[call-overload]
    if console != "bare":
        assert parameters["password"] == urlsplit(CONSOLES[console]).password


def test_the_parts_of_an_address_are_what_it_says() -> None:
    hosts, parameters = as_asyncpg_reads(
        parse_database_url("postgres://u%40x:p%2F%3F%23@w@h1:6,[::1]:7,h3/d%2Fb?application_name=a")
    )
    assert hosts == [("h1", 6), ("::1", 7), ("h3", 5432)]
    assert (parameters["user"], parameters["password"]) == ("u@x", "p/?#@w")
    assert (parameters["database"], parameters["server_settings"]) == (
        "d/b",
        {"application_name": "a"},
    )
    hosts, _ = as_asyncpg_reads(parse_database_url("postgres://%2Frun%2Fpg/d"))
    assert hosts == ["/run/pg/.s.PGSQL.5432"]
    hosts, _ = as_asyncpg_reads(parse_database_url("postgres://u:p@localhost:77/d?host=/run/pg"))
    assert hosts == ["/run/pg/.s.PGSQL.77"]
    hosts, _ = as_asyncpg_reads(parse_database_url(CONSOLES["Cloud SQL"]))
    assert hosts == ["/cloudsql/project:region:instance/.s.PGSQL.5432"]


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ("", "prefer"),
        *((f"?sslmode={mode}", mode) for mode in ("disable", "allow", "prefer", "require")),
        ("?sslmode=verify-full&sslrootcert=system", "verify_full"),
        ("?sslrootcert=system", "verify_full"),
        ("?ssl=true", "require"),
        ("?ssl=false", "disable"),
        ("?ssl=true&sslmode=require", "require"),
    ],
)
def test_tls_is_as_strict_as_asked(options: str, mode: str) -> None:
    _, parameters = as_asyncpg_reads(parse_database_url(f"postgresql://u:p@h/d{options}"))
    assert parameters["sslmode"].name == mode  # type: ignore[attr-defined]


def test_a_schema_is_quoted_and_set_by_us() -> None:
    address = parse_database_url("postgresql://u:p@h/d?schema=My%22Own,public")
    assert address.search_path == '"My""Own,public"'
    assert parse_qs(urlsplit(address.dsn).query) == {}
    assert parse_database_url("postgresql://h/d?search_path=a,b").search_path == "a,b"


@pytest.mark.parametrize(
    ("options", "connect_s"),
    [("", None), ("?connect_timeout=10", 10.0), ("?connect_timeout=0", 30)],
)
def test_the_deadline_for_connecting(options: str, connect_s: float | None) -> None:
    assert parse_database_url(f"postgresql://h/d{options}").connect_s == connect_s
    assert parse_database_url("postgresql://h/d?connection_limit=1").connections == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mysql://u:hunter2@h/d", "must be a URL with postgresql://, postgres://"),
        ("jdbc:postgresql://u:hunter2@h/d", "must be a URL with postgresql://"),
        ("postgresql://u:hunter2@h/d/e", "not the name of one database"),
        ("postgresql://u:hunter2@h,/d", "names no host"),
        ("postgresql://u:hunter2@h/d?host=a:b", "not an IP address"),
        ("postgresql://u:hunter2@h/d?port=x", "option port: it must be a number"),
        ("postgresql://u:hunter2@h/d?sslmode=no-verify", "sslmode: it must be disable, allow, "),
        ("postgresql://u:hunter2@h/d?sslmode=on", "sslmode: it must be disable, allow, prefer"),
        ("postgresql://u:hunter2@h/d?sslmode=verify-ca", "needs the option sslrootcert"),
        ("postgresql://u:hunter2@h/d?sslrootcert=/no/such.pem", "file cannot be read"),
        ("postgresql://u:hunter2@h/d?sslcert=/no/such.pem", "sslcert: it must name a file"),
        ("postgresql://u:hunter2@h/d?sslrootcert=system&sslmode=require", "sslrootcert=system"),
        ("postgresql://u:hunter2@h/d?ssl=false&sslmode=require", "contradict"),
        ("postgresql://u:hunter2@h/d?sslnegotiation=direct", "needs sslmode=require"),
        ("postgresql://u:hunter2@h/d?target_session_attrs=master", "target_session_attrs: it must"),
        ("postgresql://u:hunter2@h/d?channel_binding=yes", "channel_binding: it must be disable"),
        ("postgresql://u:hunter2@h/d?gssencmode=require", "gssencmode: it must be disable"),
        ("postgresql://u:hunter2@h/d?connect_timeout=soon", "connect_timeout: it must be a whole"),
        ("postgresql://u:hunter2@h/d?pgbouncer=maybe", "pgbouncer: it must be true or false"),
        ("postgresql://u:hunter2@h/d?schema=a&search_path=b", "schema and search_path"),
        ("postgresql://u:hunter2@h/d?colour=red", "unknown option colour; known: sslmode, "),
        ("postgresql://u:hunter2@h/d?hunter2", "not written name=value"),
    ],
)
def test_what_is_refused_is_named(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # without ~/.postgresql/root.crt
    with pytest.raises(ValueError, match=re.escape(told)) as refused:
        parse_database_url(text)
    assert "hunter2" not in str(refused.value)
