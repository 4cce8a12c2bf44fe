"""`python -m distill`."""

import signal

from distill.launching.starter import end_with_starter

if __name__ == "__main__":
    end_with_starter()  # before the imports, which take seconds
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:  # and not ignored, as in the background of a script
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends it without a traceback
    from distill.cli.app import main

    signal.signal(signal.SIGINT, interrupted)
    main()
