"""What this package cannot run in, said before the compiled half is loaded."""

import sysconfig


def refuse_unsupported() -> None:
    """Raise ImportError in an interpreter in which live frames cannot be handed over safely."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise ImportError(
            "finalrip does not support free-threaded Python, as VapourSynth's own module does not; "
            "use a Python with the GIL"
        )
    if _is_subinterpreter():
        raise ImportError(
            "finalrip does not support sub-interpreters, as VapourSynth's own module does not; "
            "import it in the main interpreter, where several threads may encode at once"
        )


def _is_subinterpreter() -> bool:
    try:
        import _interpreters as interpreters  # type: ignore[import-not-found, unused-ignore]  # Python 3.13
    except ImportError:
        try:
            import _xxsubinterpreters as interpreters  # type: ignore[no-redef, import-not-found, unused-ignore]
        except ImportError:
            return False
    current = interpreters.get_current()
    main = interpreters.get_main()
    # Since 3.13 both are pairs of a number and who owns it.
    return bool(current != main)
