000100******************************************************************
000200*  ACCTREC: A CUSTOMER'S ACCOUNT, AS TRANSACTION ACCT ANSWERS IT  *
000300*  RECORD LENGTH 192                                             *
000400******************************************************************
000500 01  ACCT-RECORD.                                                 ACCTREC
000600     05  ACCT-NUMBER             PIC 9(18)         COMP.          ACCTREC
000700     05  ACCT-CUSTOMER-ID        PIC X(08).                       ACCTREC
000800     05  ACCT-NAME               PIC X(32).                       ACCTREC
000900     05  ACCT-STATUS             PIC X.                           ACCTREC
001000         88  ACCT-ACTIVE                   VALUE 'A'.             ACCTREC
001100         88  ACCT-SUSPENDED                VALUE 'S'.             ACCTREC
001200         88  ACCT-CLOSED                   VALUE 'C'.             ACCTREC
001300     05  ACCT-SEGMENT            PIC 9(02).                       ACCTREC
001400         88  ACCT-CONSUMER                 VALUE 10.              ACCTREC
001500         88  ACCT-BUSINESS                 VALUE 20.              ACCTREC
001600         88  ACCT-ENTERPRISE               VALUE 30.              ACCTREC
001700     05  ACCT-ADDRESS.                                            ACCTREC
001800         10  ACCT-CITY           PIC X(20).                       ACCTREC
001900         10  ACCT-COUNTRY        PIC X(02).                       ACCTREC
002000     05  ACCT-CURRENCY           PIC A(03).                       ACCTREC
002100     05  ACCT-OPENED             PIC 9(08).                       ACCTREC
002200*        BALANCE: WHAT THE CUSTOMER OWES IS NEGATIVE              ACCTREC
002300     05  ACCT-BALANCE            PIC S9(11)V99     COMP-3.        ACCTREC
002400     05  ACCT-CREDIT-LIMIT       PIC S9(11)V9(2) COMPUTATIONAL-3. ACCTREC
002500     05  ACCT-LAST-AMOUNT        PIC S9(09)V99.                   ACCTREC
002600     05  ACCT-ADJUSTMENT         PIC S9(05)V99                    ACCTREC
002700                                 SIGN IS LEADING SEPARATE.        ACCTREC
002800     05  ACCT-POINTS             PIC S9(09)        COMP.          ACCTREC
002900     05  ACCT-BRANCH             PIC 9(04)         USAGE COMP.    ACCTREC
003000     05  ACCT-RISK               PIC V9(04).                      ACCTREC
003100     05  ACCT-YEAR OCCURS 3 TIMES.                                ACCTREC
003200         10  ACCT-YEAR-NUMBER    PIC 9(04).                       ACCTREC
003300         10  ACCT-YEAR-ORDERS    PIC S9(04)        COMP.          ACCTREC
003400         10  ACCT-YEAR-VOLUME    PIC S9(11)V99     COMP-3.        ACCTREC
003500     05  FILLER                  PIC X(26).                       ACCTREC
