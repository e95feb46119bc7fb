# Runs in a script's namespace before the script. Of the interpreter, which all scripts of a process share, it changes what
# the script is to find: its source, and the modules that lie beside it.
def _finalrip_begin(source, folders, names_crashes):
    import importlib
    import os
    import sys

    # Not through os.environ, which would call setenv: the C environment has a keeper of its own.
    data, key = os.environ._data, os.environ.encodekey("FINALRIP_SOURCE")
    state = sys.__dict__.setdefault("_finalrip", {"source": data.get(key), "folders": [], "modules": frozenset()})
    if source is None:
        source = state["source"]
    elif not isinstance(key, bytes):
        source = os.fsdecode(source)
    if source is None:
        data.pop(key, None)
    else:
        data[key] = source

    def lies_beside(module):
        about = getattr(module, "__dict__", {})
        places = list(about.get("__path__") or [about.get("__file__")])
        return any(isinstance(place, str) and os.path.dirname(place) in state["folders"] for place in places)

    # What an earlier script has found beside itself is not this one's, and may have been edited since.
    found = {
        name
        for name, module in list(sys.modules.items())
        if "." not in name and name not in state["modules"] and lies_beside(module)
    }
    for name in list(sys.modules):
        if name.partition(".")[0] in found:
            del sys.modules[name]
    for folder in state["folders"]:
        if folder in sys.path:
            sys.path.remove(folder)
    state["folders"] = [os.fsdecode(folder) for folder in folders]
    state["modules"] = frozenset(sys.modules)
    sys.path[:0] = state["folders"]
    importlib.invalidate_caches()
    if names_crashes:
        import faulthandler

        if not faulthandler.is_enabled():
            faulthandler.enable(file=2)
