"""An object store behind a proxy."""

import pytest


@pytest.fixture(scope="session")
def store_server():
    """Host and port of an object store that lives in this process."""
    moto_server = pytest.importorskip("moto.server", reason="moto is not installed")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def proxy(store_server):
    """A way to the store that counts and, if told so, fails."""
    from tests.shards.faulty import Proxy

    proxy = Proxy(store_server)
    yield proxy
    proxy.shutdown()
    proxy.server_close()
