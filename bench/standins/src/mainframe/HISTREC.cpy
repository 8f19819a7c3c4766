000100******************************************************************
000200*  HISTREC: ONE ENTRY OF AN ACCOUNT, NEWEST FIRST                *
000300*  RECORD LENGTH 72                                              *
000400******************************************************************
000500 01  HIST-ENTRY.                                                  HISTREC
000600     05  HIST-SEQ                PIC 9(05)         COMP-3.        HISTREC
000700     05  HIST-DATE               PIC 9(08).                       HISTREC
000800     05  HIST-TIME               PIC 9(06).                       HISTREC
000900     05  HIST-TYPE               PIC X(02).                       HISTREC
001000         88  HIST-PURCHASE                 VALUE 'PU'.            HISTREC
001100         88  HIST-PAYMENT                  VALUE 'PY'.            HISTREC
001200     05  HIST-ORDER              PIC 9(16)         COMP.          HISTREC
001300     05  HIST-TEXT               PIC X(24).                       HISTREC
001400     05  HIST-AMOUNT             PIC S9(09)V99.                   HISTREC
001500     05  HIST-BALANCE            PIC S9(11)V99     COMP-3.        HISTREC
001600     05  HIST-CURRENCY           PIC X(03).                       HISTREC
